"""One connection for many callers: each gets its own answer, whatever becomes of the others."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from greenq.redis.address import parse
from greenq.redis.client import Client
from greenq.redis.failures import Failure, Late
from tests.servers import Proxy, shared_redis
from tests.waiting import until

ECHOES = Path(__file__).with_name("echoes.py")
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("world", ["gevent", "eventlet", "threads"])
def test_each_caller_gets_its_own_answer_though_others_are_interrupted(world: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.greenq.redis.echoes", world, shared_redis().empty()],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    answered, interrupted = map(int, done.stdout.split())
    assert answered > 1000
    assert interrupted > 0 or world == "threads"


def test_a_caller_that_cannot_wait_leaves_the_others_alone() -> None:
    proxy = Proxy(shared_redis().port)
    client = Client(parse(f"redis://127.0.0.1:{proxy.port}"))
    assert client.do("ECHO", "first", deadline=time.monotonic() + 5) == b"first"
    for _ in range(20):
        found: list[object] = []
        uncertain = crowd(proxy, client, found)
        if uncertain is not None:
            break
    assert uncertain is False
    assert sorted(map(str, found)) == [f"b'{n}'" for n in range(5)]
    client.close()
    proxy.close()


def crowd(proxy: Proxy, client: Client, found: list[object]) -> bool | None:
    """Let five wait for a slow server and a sixth give up; whether its command may have been sent.

    Returns:
        None if a busy machine answered the five before the sixth came, which then had nobody to wait for.
    """
    proxy.delay = 1.2  # less than what a connection may be silent for while others are answered
    threads = [
        threading.Thread(
            target=lambda n=n: found.append(client.do("ECHO", str(n), deadline=time.monotonic() + 20))
        )
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    lane = client.lane()
    until(lambda: lane._turn or len(found) == 5, "one has its turn")
    with pytest.raises(Late) as caught:
        client.do("ECHO", "impatient", deadline=time.monotonic() + 0.1)
    met = not found
    proxy.delay = 0.0
    for thread in threads:
        thread.join(20)
    return caught.value.uncertain if met else None


def test_a_turn_that_nobody_ends_is_over_some_time_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that was ended from outside in the wrong moment must not keep the connection for ever."""
    monkeypatch.setattr("greenq.redis.lane.ABANDONED_AFTER", 0.1)
    client = Client(parse(shared_redis().url))
    lane = client.lane()
    lane._take_turn(time.monotonic() + 0.1)
    with pytest.raises(Late):
        client.do("PING", deadline=time.monotonic() + 0.05)
    time.sleep(0.3)
    assert client.do("PING", deadline=time.monotonic() + 5) == b"PONG"
    client.close()


def test_a_closed_client_says_so() -> None:
    client = Client(parse(shared_redis().url))
    client.do("PING", deadline=time.monotonic() + 5)
    client.close()
    with pytest.raises(Failure, match="closed"):
        client.do("PING", deadline=time.monotonic() + 5)
