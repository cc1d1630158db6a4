"""What remains when a supervisor, a worker or the broker is gone: no zombie, no orphan, no endless wait."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from greenq.worker.page import Page
from greenq.worker.reach import Reach
from greenq.worker.supervision.child import Child
from tests.greenq.worker.conftest import Shop
from tests.servers import start_redis
from tests.waiting import PATIENCE, until

LONG = 90.0
"""Seconds for several starts, one after the other, on a machine that is busy with other things."""


def descendants(pid: int) -> list[int]:
    """The ids of all processes below one, deepest last."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize(("pool", "fewest"), [("gevent", 1), ("prefork", 5)])
def test_nothing_outlives_a_supervisor_that_is_killed(shop: Shop, pool: str, fewest: int) -> None:
    worker = shop.worker("-P", pool, "-c", "3")
    for n in range(3):
        shop.send("nap", 60, shop.ledger, str(n))
    until(lambda: len(shop.lines()) == 3, what="all run")
    below = descendants(worker.process.pid)
    assert len(below) >= fewest, "the worker; with prefork its server and three children too"
    worker.signal(signal.SIGKILL)
    until(lambda: not [pid for pid in below if lives(pid)], "the end of all processes")


def test_children_do_not_outlive_a_worker_that_is_killed_and_nobody_becomes_a_zombie(shop: Shop) -> None:
    worker = shop.worker("-P", "prefork", "-c", "3")
    for n in range(3):
        shop.send("nap", 3, shop.ledger, str(n))
    until(lambda: len(shop.lines()) == 3, what="all run")
    below = descendants(worker.process.pid)
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    until(lambda: not [pid for pid in below if lives(pid)], "the end of all processes")
    until(lambda: worker.children() not in ([], [child]), "the successor", LONG)
    assert child not in worker.children(), "it was waited for"
    until(lambda: sum(line.startswith("end") for line in shop.lines()) == 3, patience=LONG)


def test_orphans_that_become_the_supervisors_are_waited_for(shop: Shop) -> None:
    # As in a container, where the command is the first process and adopts what a task has left behind.
    adopt = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    worker = shop.worker("-c", "5", through=("-c", adopt))
    orphan = shop.send("leave_an_orphan").get(timeout=PATIENCE)
    until(lambda: not Path(f"/proc/{orphan}").exists(), what="its end, waited for")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_worker_that_somebody_else_stops_is_started_again(shop: Shop) -> None:
    worker = shop.worker("-c", "5")
    (child,) = worker.children()
    os.kill(child, signal.SIGTERM)
    until(lambda: worker.children() not in ([], [child]), "the successor", LONG)
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "threads"])
def test_a_neighbour_gives_back_at_once_what_a_dead_process_held(shop: Shop, pool: str) -> None:
    worker = shop.worker(
        "-P", pool, "-c", "1", "--processes", "2", "-n", "w%i@%h",
        env={"GREENQ_WORKER_LEASE": "60s", "SHOP_NO_LIMITS": "1"},
    )  # fmt: skip
    until(lambda: len(worker.children()) == 2)
    result = shop.send("spin_once", shop.ledger)
    until(lambda: len(shop.lines()) == 1)
    os.kill(int(shop.lines()[0]), signal.SIGKILL)
    # Its lease would last a minute.
    assert result.get(timeout=PATIENCE) == "again"


class TestABrokerThatIsAway:
    def test_ends_the_command_once_patience_is_over(self, shop: Shop) -> None:
        server = start_redis()
        env = {"GREENQ_BROKER_URL": server.url, "GREENQ_WORKER_LEASE": "3s", "GREENQ_BROKER_PATIENCE": "2s"}
        worker = shop.worker("-c", "5", env=env)
        server.kill()
        assert worker.wait(LONG) == 69, worker.output
        assert "longer than broker.patience allows" in worker.output
        assert "giving up" in worker.output
        assert "Traceback" not in worker.output

    def test_is_waited_for_without_a_patience_also_by_a_process_that_is_started_meanwhile(
        self, shop: Shop
    ) -> None:
        server = start_redis()
        worker = shop.worker("-c", "5", env={"GREENQ_BROKER_URL": server.url, "GREENQ_WORKER_LEASE": "3s"})
        (child,) = worker.children()
        server.kill()
        os.kill(child, signal.SIGKILL)
        until(lambda: worker.output.count("exit code 69") >= 2, "attempts to start", LONG)
        server.start()
        until(lambda: server.do("CLIENT", "LIST").count(b"\n") > 2, "a worker that is connected", LONG)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        server.stop()


class TestReach:
    def test_all_who_call_the_broker_must_reach_it(self) -> None:
        changes: list[bool] = []
        reach = Reach(None, changes.append, lambda _: pytest.fail("there is no patience to lose"))
        reach.failed("fetch")
        reach.failed("renew")
        reach.failed("fetch")
        reach.succeeded("fetch")
        assert changes == [False]
        reach.succeeded("renew")
        reach.succeeded("renew")
        assert changes == [False, True]

    def test_patience_is_lost_once_however_many_fail(self) -> None:
        lost: list[float] = []
        reach = Reach(0.05, lambda _: None, lost.append)
        reach.failed("fetch")
        assert not lost
        deadline = time.monotonic() + PATIENCE
        while not lost and time.monotonic() < deadline:
            reach.look()
        reach.look()
        reach.failed("renew")
        assert len(lost) == 1
        assert lost[0] > 0.05

    def test_patience_begins_anew_when_the_broker_is_back(self) -> None:
        lost: list[float] = []
        reach = Reach(60.0, lambda _: None, lost.append)
        reach.failed("fetch")
        reach.succeeded("fetch")
        reach.look()
        assert not lost


class TestALine:
    def child(self) -> tuple[Child, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return Child(0, "process", ours, Page()), theirs

    @pytest.mark.parametrize(
        "said", [b"\n", b"\xff\xfe\n", b"[1]\n", b'"up"\n', b'{"up": 5}\n', b"x" * 200_000]
    )
    def test_what_a_task_scribbles_on_it_is_passed_over(self, said: bytes) -> None:
        child, theirs = self.child()
        with theirs, contextlib.closing(child):
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                theirs.sendall(said)
            assert child.hear()
            assert not child.came_up
            theirs.sendall(b'\n{"up": {"shutdown_timeout": 7, "patience": null}}\n')
            assert child.hear()
            assert (child.came_up, child.shutdown_timeout) == (True, 7.0)

    def test_news_in_pieces_arrive_whole(self) -> None:
        child, theirs = self.child()
        with theirs, contextlib.closing(child):
            for byte in b'{"recycle": "it is old"}\n':
                theirs.sendall(bytes([byte]))
                assert child.hear()
            assert child.recycle == "it is old"

    def test_one_that_is_told_to_stop_before_it_came_up_is_killed_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "kill", lambda *_: None)
        child, theirs = self.child()
        with theirs, contextlib.closing(child):
            child.stop()
            theirs.sendall(b'{"up": {"shutdown_timeout": 7, "patience": null}}\n')
            assert child.hear()
            assert child.kill_at is not None

    def test_a_worker_that_reads_nothing_does_not_hold_up_the_supervisor(self) -> None:
        child, theirs = self.child()
        with theirs, contextlib.closing(child):
            while child.give_back([("dead", True)] * 100):
                pass
            theirs.close()
            assert not child.give_back([("dead", True)])
            assert not child.hear()
