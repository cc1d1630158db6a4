"""The supervisor restarts what can be restarted, and ends where that would not help."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.greenq.worker.conftest import PATIENCE, Shop, until


def test_a_mistake_in_the_set_up_ends_the_command_with_one_line(shop: Shop) -> None:
    worker = shop.worker(
        "-c", "5", "--processes", "2", ready=False, env={"GREENQ_BROKER_URL": "sqlite:////no/such/dir/x.db"}
    )
    assert worker.wait() == 2
    assert "/no/such/dir" in worker.output
    assert "Traceback" not in worker.output
    assert "restarting" not in worker.output


def test_a_worker_that_never_comes_up_is_given_up(shop: Shop) -> None:
    # A worker that crashes for a reason that nobody foresaw: here, a file descriptor limit that is too low.
    (shop.path / "broken.py").write_text(
        "import os\nfrom greenq import GreenQ\napp = GreenQ('b')\nos._exit(9)\n"
    )
    worker = shop.worker("-A", "broken", ready=False)
    assert worker.wait(60) == 1
    assert "giving up" in worker.output


def test_several_processes_share_the_work(shop: Shop) -> None:
    worker = shop.worker("-c", "5", "--processes", "2", "-n", "w%i@%h")
    until(lambda: len(worker.children()) == 2)
    until(lambda: len({shop.send("spin", 0.05).get(timeout=PATIENCE) for _ in range(6)}) == 2)


def test_stopped_processes_hold_nothing_and_leave_no_zombie(shop: Shop) -> None:
    worker = shop.worker("-c", "5", "--processes", "3", "-n", "w%i@%h")
    until(lambda: len(worker.children()) == 3)
    children = worker.children()
    worker.signal(signal.SIGINT)
    assert worker.wait() == 0, worker.output
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_a_worker_that_crashes_again_and_again_is_restarted_more_and_more_slowly(shop: Shop) -> None:
    worker = shop.worker("-c", "5")
    for _ in range(3):
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        until(lambda old=child: worker.children() not in ([], [old]), what="the successor")
    assert "restarting it in 0.5 s" in worker.output
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3


def test_a_broker_that_no_other_process_can_reach_is_refused(shop: Shop) -> None:
    worker = shop.worker("-c", "5", ready=False, env={"GREENQ_BROKER_URL": "memory://shop"})
    assert worker.wait() == 2
    assert "one process only" in worker.output
