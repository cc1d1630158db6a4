"""Stopping, dying and being replaced lose nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from greenq.task import Call
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

GREEN = ("-P", "gevent", "-c", "300")


def started(shop: Shop) -> int:
    return sum(line.startswith("start") for line in shop.lines())


def ended(shop: Shop) -> int:
    return sum(line.startswith("end") for line in shop.lines())


def test_sigterm_lets_two_hundred_running_tasks_finish(shop: Shop) -> None:
    worker = shop.worker(*GREEN)
    shop.app.send_many(Call("shop.nap", (2, shop.ledger, str(n))) for n in range(200))
    until(lambda: started(shop) == 200, what="all run")
    shop.send("add", 1, 1)
    worker.signal(signal.SIGTERM)
    shop.send("nap", 0, shop.ledger, "too late")
    assert worker.wait() == 0, worker.output
    assert ended(shop) >= 200
    depth = shop.depth()
    assert (depth.leased, depth.dead) == (0, 0)
    assert started(shop) + depth.ready + (1 if "too late" not in str(shop.lines()) else 0) >= 201


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_there_is_a_supervisor_is_heard_by_it(shop: Shop, signum: signal.Signals) -> None:
    worker = shop.worker("-P", "threads", "-c", "2", ready=False)
    until(lambda: signum in blocked(worker.process.pid), what="the command began")
    worker.signal(signum)
    if signum == signal.SIGHUP:  # no terminal was closed: its workers are replaced
        until(lambda: "replacing the workers" in worker.output, what=worker.output)
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


def blocked(pid: int) -> set[int]:
    """The signals that a process has put off."""
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigBlk" in line)
    bits = int(mask.split()[1], 16)
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def test_a_second_sigterm_puts_running_tasks_back(shop: Shop) -> None:
    worker = shop.worker(*GREEN)
    shop.app.send_many(Call("shop.nap", (60, shop.ledger, str(n))) for n in range(200))
    until(lambda: started(shop) == 200, what="all run")
    worker.signal(signal.SIGTERM)
    until(lambda: "second signal" in worker.output, what="the first signal was taken")
    worker.signal(signal.SIGTERM)
    assert worker.wait(15) == 0, worker.output
    depth = shop.depth()
    assert (depth.ready, depth.leased, depth.dead) == (200, 0, 0)


def test_tasks_that_outlast_the_shutdown_timeout_are_put_back(shop: Shop) -> None:
    worker = shop.worker(*GREEN, env={"GREENQ_WORKER_SHUTDOWN_TIMEOUT": "500ms"})
    shop.send("nap", 60, shop.ledger, "long")
    until(lambda: started(shop) == 1)
    worker.signal(signal.SIGTERM)
    assert worker.wait(15) == 0, worker.output
    assert shop.depth().ready == 1


@pytest.mark.parametrize(
    "pool", [("threads", "4"), ("prefork", "2"), ("solo", "1"), ("eventlet", "9"), ("asyncio", "9")]
)
def test_every_pool_stops_at_sigterm_and_finishes_what_runs(shop: Shop, pool: tuple[str, str]) -> None:
    worker = shop.worker("-P", pool[0], "-c", pool[1], env={"SHOP_NO_LIMITS": "1"})
    shop.send("nap", 1, shop.ledger, "one")
    until(lambda: started(shop) == 1)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert ended(shop) == 1
    assert (shop.depth().ready, shop.depth().leased) == (0, 0)


def test_a_worker_killed_by_sigkill_is_restarted_and_its_tasks_run_again_at_once(shop: Shop) -> None:
    worker = shop.worker(*GREEN, env={"GREENQ_WORKER_LEASE": "60s"})
    result = shop.send("nap", 1, shop.ledger, "one")
    until(lambda: started(shop) == 1)
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    # The lease is a minute long: only the supervisor's word can bring it back sooner.
    assert result.get(timeout=PATIENCE) == "one"
    assert started(shop) == 2
    assert "SIGKILL" in worker.output
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_killing_the_supervisor_leaves_no_worker_behind_and_loses_nothing(shop: Shop) -> None:
    worker = shop.worker(*GREEN, env={"GREENQ_WORKER_LEASE": "1s"})
    result = shop.send("nap", 1, shop.ledger, "one")
    until(lambda: started(shop) == 1)
    (child,) = worker.children()
    worker.signal(signal.SIGKILL)
    until(lambda: not _alive(child), what="the orphan is gone")
    shop.worker(*GREEN, env={"GREENQ_WORKER_LEASE": "1s"})
    assert result.get(timeout=PATIENCE) == "one"


def test_at_most_once_tasks_do_not_run_again_after_a_kill(shop: Shop) -> None:
    worker = shop.worker(*GREEN)
    shop.send("nap_once", 3, shop.ledger, "one")
    until(lambda: started(shop) == 1)
    (child,) = worker.children()
    os.kill(child, signal.SIGKILL)
    until(lambda: worker.children() not in ([], [child]), what="the successor")
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3
    assert started(shop) == 1


def test_a_child_killed_in_mid_task_fails_that_task_only(shop: Shop) -> None:
    shop.worker("-P", "prefork", "-c", "2")
    bad, good = shop.send("kill_myself"), shop.send("nap", 0.5, shop.ledger, "good")
    with pytest.raises(Exception, match="died"):
        bad.get(timeout=PATIENCE)
    assert good.get(timeout=PATIENCE) == "good"
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3


def test_max_tasks_replaces_processes_without_losing_a_task(shop: Shop) -> None:
    worker = shop.worker(*GREEN, "--max-tasks", "50")
    (first,) = worker.children()
    results = shop.app.send_many(Call("shop.nap", (0.01, shop.ledger, str(n))) for n in range(400))
    assert {result.get(timeout=PATIENCE) for result in results} == {str(n) for n in range(400)}
    assert ended(shop) == 400
    until(lambda: worker.children() not in ([], [first]), what="the successor")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output


def test_burst_ends_when_the_queues_are_empty(shop: Shop) -> None:
    shop.app.send_many(Call("shop.nap", (0.1, shop.ledger, str(n))) for n in range(50))
    worker = shop.worker(*GREEN, "--burst", ready=False)
    assert worker.wait() == 0, worker.output
    assert ended(shop) == 50


def test_sighup_replaces_the_processes_one_by_one(shop: Shop) -> None:
    worker = shop.worker(*GREEN, "--processes", "2", "-n", "w%i@%h")
    until(lambda: len(worker.children()) == 2)
    before = set(worker.children())
    worker.signal(signal.SIGHUP)
    until(lambda: len(worker.children()) == 2 and not before & set(worker.children()), what="both replaced")
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3


def test_limits_survive_long_leases_and_live_work_is_never_redelivered(shop: Shop) -> None:
    shop.worker(*GREEN, env={"GREENQ_WORKER_LEASE": "1s"})
    shop.worker(*GREEN, env={"GREENQ_WORKER_LEASE": "1s"})
    results = [shop.send("nap", 5, shop.ledger, str(n)) for n in range(20)]
    for result in results:
        result.get(timeout=PATIENCE)
    assert started(shop) == 20


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_runs_at_the_end_is_what_was_sent(shop: Shop) -> None:
    """Kill at random for a while: every task ends, and only what was in flight at a kill runs twice."""
    worker = shop.worker("-P", "gevent", "-c", "20", env={"GREENQ_WORKER_LEASE": "2s"})
    results = shop.app.send_many(Call("shop.nap", (0.02, shop.ledger, str(n))) for n in range(2000))
    for _ in range(4):
        time.sleep(0.3)
        for child in worker.children():
            os.kill(child, signal.SIGKILL)
        until(worker.children, what="a successor")
    for result in results:
        result.get(timeout=60)
    assert {line for line in shop.lines() if line.startswith("end")} == {f"end {n}" for n in range(2000)}
