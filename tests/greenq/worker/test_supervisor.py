"""The supervisor restarts what can be restarted, and ends where that would not help."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from greenq.errors import WorkerLost
from greenq.worker.page import Page
from greenq.worker.supervision.child import Child
from greenq.worker.supervisor import Supervisor
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

LONG = 90.0
"""Seconds for several starts, one after the other, on a machine that is busy with other things."""


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
    assert worker.wait(LONG) == 1
    assert "giving up" in worker.output


@pytest.mark.parametrize(("task", "deliveries"), [("end_process", "5"), ("kill_all_greenlets", "2")])
def test_a_task_that_ends_its_process_again_and_again_is_given_up_and_not_the_command(
    shop: Shop, task: str, deliveries: str
) -> None:
    poison = shop.send(task)
    shop.worker("-c", "1", "-P", "gevent", env={"GREENQ_WORKER_MAX_DELIVERIES": deliveries})
    with pytest.raises(WorkerLost):
        poison.get(timeout=60)
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3
    assert shop.depth().dead == 1


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


def test_thousands_of_queues_reach_the_workers(shop: Shop) -> None:
    queues = [f"a-queue-with-a-name-{n:04d}" for n in range(4000)]
    shop.worker("-c", "5", "-Q", ",".join(queues))
    assert shop.send("add", 1, 2, queue=queues[-1]).get(timeout=PATIENCE) == 3


def test_a_reader_of_the_output_that_goes_away_ends_nothing(shop: Shop) -> None:
    reader, writer = os.pipe()
    worker = shop.worker("-c", "5", output=writer)
    os.close(writer)
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3
    os.close(reader)
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_without_standard_streams_works(shop: Shop) -> None:
    command = [sys.executable, "-m", "greenq", "worker", "-A", "shop", "-c", "5", "--burst"]
    result = shop.send("add", 1, 2)
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(closed, cwd=shop.path, env=environ, timeout=PATIENCE, check=False)
    assert done.returncode == 0
    assert result.get(timeout=1) == 3


def test_a_worker_whose_terminal_is_closed_stops_in_good_order(shop: Shop) -> None:
    ours, terminal = pty.openpty()
    lead = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-m", "greenq", "worker", "-A", "shop", "-c", "5"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", lead, *command],
        cwd=shop.path, env=environ, stdin=terminal, stdout=terminal, stderr=terminal,
    )  # fmt: skip
    os.close(terminal)
    try:
        result = shop.send("nap", 1, shop.ledger, "long")
        until(lambda: shop.lines() == ["start long"])
        os.close(ours)
        assert process.wait(PATIENCE) == 0
        assert result.get(timeout=1) == "long"
    finally:
        process.kill()
        process.wait()


def test_a_worker_that_does_not_end_when_it_is_replaced_is_killed(shop: Shop) -> None:
    worker = shop.worker("-c", "5", env={"GREENQ_WORKER_SHUTDOWN_TIMEOUT": "0s"})
    shop.send("block", shop.ledger)
    until(lambda: shop.lines() == ["blocked"])
    (child,) = worker.children()
    worker.signal(signal.SIGHUP)
    until(lambda: child not in worker.children(), what="the predecessor's end")
    assert "did not end in time and is killed" in worker.output
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3


def test_a_process_that_died_does_not_hold_up_the_replacing(shop: Shop) -> None:
    worker = shop.worker("-c", "5", "--processes", "2", "-n", "w%i@%h")
    until(lambda: len(worker.children()) == 2)
    first = worker.children()
    for _ in range(2):
        os.kill(worker.children()[-1], signal.SIGKILL)
        until(lambda: len(worker.children()) == 1 or first[-1] not in worker.children())
    worker.signal(signal.SIGHUP)
    until(lambda: len(worker.children()) == 2 and not set(first) & set(worker.children()), patience=LONG)
    second = worker.children()
    worker.signal(signal.SIGHUP)
    until(lambda: len(worker.children()) == 2 and not set(second) & set(worker.children()), patience=LONG)


def test_signals_again_and_again_do_not_put_off_the_end(monkeypatch) -> None:
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, signum: sent.append((pid, signum)))
    supervisor = Supervisor({"processes": 1, "shutdown_timeout": 30.0})
    line, theirs = socket.socketpair()
    line.setblocking(False)
    child = Child(12345, "process", line, Page())
    supervisor._places[0].child = child
    theirs.send(b'{"up": {"shutdown_timeout": 100.0, "patience": null}}\n')
    ends = []
    for _ in range(4):
        supervisor._handle(signal.SIGTERM)
        ends.append(child.kill_at)
    assert ends[0] > ends[1] + 50, "the application's own shutdown_timeout counts"
    assert ends[1] == ends[2] == ends[3]
    theirs.close()
    child.close()


def test_a_number_of_processes_that_only_the_code_names_is_refused(shop: Shop) -> None:
    (shop.path / "three.py").write_text("from greenq import GreenQ\napp = GreenQ(worker={'processes': 3})\n")
    worker = shop.worker("-A", "three", ready=False)
    assert worker.wait() == 2
    assert "--processes 3" in worker.output
