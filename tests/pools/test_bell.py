"""A bell wakes its one waiter each time that it is rung, in whichever world that waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from pools.bell import Bell

ROOT = Path(__file__).parents[2]
IN_GEVENT = """
import threading
import gevent
from pools.bell import Bell

bell = Bell()
assert not bell.wait(0.01)
bell.ring()
assert bell.wait(60), "what was rung before"
assert not bell.wait(0.01), "a ring is heard once"
gevent.spawn(bell.ring)
assert bell.wait(60), "by a green thread of the same hub"
threading.Thread(target=bell.ring).start()
assert bell.wait(60), "by another native thread"
waiter = gevent.spawn(bell.wait, 60)
gevent.sleep(0)
bell.ring()
waiter.kill()
late = []
gevent.spawn(late.append, 1)
gevent.sleep(0.01)
assert late == [1], "nothing is switched to that has gone"
heard = 0
def ring_often():
    for _ in range(1000):
        bell.ring()
        gevent.sleep(0)
ringer = gevent.spawn(ring_often)
while not ringer.dead:
    heard += bell.wait(0.1)
assert heard >= 900, heard
"""


def test_a_native_thread_hears_what_was_rung_before_and_meanwhile() -> None:
    bell = Bell()
    assert not bell.wait(0.01)
    bell.ring()
    assert bell.wait(60)
    assert not bell.wait(0.01)
    threading.Timer(0.01, bell.ring).start()
    assert bell.wait(60)


def test_a_green_thread_hears_it_from_its_own_hub_and_from_other_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_GEVENT], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
