"""Processes are replaced when they have done their share, are old or large: without loss, without a gap."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from greenq.task import Call
from greenq.worker.duties.recycling import Recycling
from pools.memory import resident
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

LONG = 90.0
"""Seconds for several processes, one after the other, on a machine that is busy with other things."""

GREEN = ("-P", "gevent", "-c", "50")


class TestWhatIsAnnounced:
    def announced(self, **limits) -> tuple[Recycling, list[str]]:
        said: list[str] = []
        trimmed: list[int] = []
        limits = {"max_tasks": None, "max_age": None, "max_memory": None, **limits}
        return Recycling(**limits, announce=said.append, trim=trimmed.append), said

    def test_the_number_of_tasks_once_it_is_reached_and_only_once(self) -> None:
        recycling, said = self.announced(max_tasks=10)
        recycling.count(9)
        assert not said
        recycling.count(10)
        recycling.count(20)
        assert said == ["it has done 10 tasks, and worker.max_tasks is 10"]
        assert recycling.idle

    def test_the_age(self) -> None:
        recycling, said = self.announced(max_age=0.1)
        recycling.run()
        assert said == ["it is older than worker.max_age allows"]

    def test_the_memory_when_it_has_grown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = iter([90, 95, 130])
        monkeypatch.setattr("greenq.worker.duties.recycling.resident", lambda: next(sizes) * 1024 * 1024)
        monkeypatch.setattr("greenq.worker.duties.recycling.LOOK_EVERY", 0.001)
        recycling, said = self.announced(max_memory=100 * 1024 * 1024)
        recycling.run()
        assert said == ["it has 130 MiB, and worker.max_memory is 100 MiB"]

    def test_nothing_for_a_limit_that_no_process_could_keep(self, caplog: pytest.LogCaptureFixture) -> None:
        recycling, said = self.announced(max_memory=1024 * 1024)
        recycling.run()
        assert not said
        assert "before it has run anything" in caplog.text

    def test_the_memory_of_a_process_is_what_the_system_says(self) -> None:
        kib = int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1])
        assert resident() == pytest.approx(kib * 1024, rel=0.1)


def test_the_only_process_recycles_without_loss_and_without_a_gap(shop: Shop) -> None:
    worker = shop.worker(*GREEN, "--max-tasks", "100")
    (first,) = worker.children()
    results = shop.app.send_many(Call("shop.nap", (0.01, shop.ledger, str(n))) for n in range(1000))
    assert {result.get(timeout=PATIENCE) for result in results} == {str(n) for n in range(1000)}
    assert sorted(line for line in shop.lines() if line.startswith("end")) == sorted(
        f"end {n}" for n in range(1000)
    )
    until(lambda: first not in worker.children(), patience=LONG)
    assert "worker.max_tasks is 100" in worker.output
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    assert shop.depth().leased == 0


def test_who_is_recycled_works_until_its_successor_is_up_and_then_finishes_what_runs(shop: Shop) -> None:
    worker = shop.worker(*GREEN, "--max-tasks", "1")
    (first,) = worker.children()
    long = shop.send("nap", 3, shop.ledger, "long")
    until(lambda: shop.lines() == ["start long"])
    shop.send("add", 1, 2).get(timeout=PATIENCE)
    until(lambda: len(worker.children()) == 2, what="the successor beside it")
    assert first in worker.children()
    # The first one is draining or still at work; whoever takes this one, it does not wait for `long`.
    before = time.monotonic()
    assert shop.send("add", 3, 4).get(timeout=PATIENCE) == 7
    assert shop.lines() == ["start long"] or time.monotonic() - before < 3
    assert long.get(timeout=PATIENCE) == "long"
    assert shop.lines().count("start long") == 1


def test_a_process_that_has_grown_too_large_is_recycled(shop: Shop) -> None:
    worker = shop.worker(*GREEN, "--max-memory", "150MiB")
    (first,) = worker.children()
    assert shop.send("hoard", 200 * 1024 * 1024).get(timeout=PATIENCE)[1] > 150 * 1024 * 1024
    until(lambda: worker.children() and first not in worker.children(), patience=LONG)
    assert "worker.max_memory is 150 MiB" in worker.output


def test_several_processes_are_recycled_one_after_the_other(shop: Shop) -> None:
    worker = shop.worker("-P", "gevent", "-c", "5", "--processes", "3", "-n", "w%i@%h", "--max-age", "3s")
    until(lambda: len(worker.children()) >= 3)
    first = set(worker.children())
    most = 0
    deadline = time.monotonic() + LONG
    while first & set(worker.children()):
        most = max(most, len(worker.children()))
        assert time.monotonic() < deadline, worker.output
        time.sleep(0.02)
    assert most <= 4, "one more than configured, at most"
    assert worker.output.count("is older than worker.max_age allows") >= 3
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3


def test_prefork_recycles_with_all_its_children(shop: Shop) -> None:
    worker = shop.worker("-P", "prefork", "-c", "2", "--max-tasks", "5")
    (first,) = worker.children()
    results = [shop.send("nap", 0.05, shop.ledger, str(n)) for n in range(12)]
    assert [result.get(timeout=PATIENCE) for result in results] == [str(n) for n in range(12)]
    until(lambda: first not in worker.children(), patience=LONG)
    assert sum(line.startswith("start") for line in shop.lines()) == 12


def test_a_prefork_child_that_has_grown_too_large_is_replaced_alone(shop: Shop) -> None:
    worker = shop.worker("-P", "prefork", "-c", "1", "--max-memory", "150MiB")
    (process,) = worker.children()
    (first, size) = shop.send("hoard", 200 * 1024 * 1024).get(timeout=PATIENCE)
    assert size > 150 * 1024 * 1024
    until(lambda: not Path(f"/proc/{first}").exists(), "the child is replaced", LONG)
    assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3
    assert worker.children() == [process]


class TestSighup:
    def test_new_code_that_does_not_load_leaves_the_old_worker_at_work(self, shop: Shop) -> None:
        code = shop.path / "market.py"
        code.write_text("from greenq import GreenQ\napp = GreenQ('m')\n@app.task\ndef one(): return 1\n")
        worker = shop.worker("-A", "market")
        (first,) = worker.children()
        assert shop.app.send_task("market.one").get(timeout=PATIENCE) == 1
        code.write_text("from greenq import GreenQ\nimport nowhere\n")
        worker.signal(signal.SIGHUP)
        until(lambda: "it stays" in worker.output, "the successor's failure", LONG)
        assert worker.children() == [first]
        assert shop.app.send_task("market.one").get(timeout=PATIENCE) == 1
        code.write_text("from greenq import GreenQ\napp = GreenQ('m')\n@app.task\ndef one(): return 2\n")
        worker.signal(signal.SIGHUP)
        until(lambda: first not in worker.children(), "the replacement", LONG)
        assert shop.app.send_task("market.one").get(timeout=PATIENCE) == 2

    def test_there_is_always_somebody_who_works(self, shop: Shop) -> None:
        worker = shop.worker(*GREEN)
        (first,) = worker.children()
        shop.send("nap", 2, shop.ledger, "long")
        until(lambda: shop.lines() == ["start long"])
        worker.signal(signal.SIGHUP)
        while first in worker.children():
            assert shop.send("add", 1, 2).get(timeout=PATIENCE) == 3
        assert "end long" in shop.lines()

    def test_a_predecessor_that_had_to_be_killed_gives_everything_back_at_once(self, shop: Shop) -> None:
        worker = shop.worker(
            *GREEN, env={"GREENQ_WORKER_SHUTDOWN_TIMEOUT": "0s", "GREENQ_WORKER_LEASE": "60s"}
        )
        (first,) = worker.children()
        blocking = shop.send("block", shop.ledger)
        until(lambda: shop.lines() == ["blocked"])
        worker.signal(signal.SIGHUP)
        until(lambda: first not in worker.children(), "it is killed", LONG)
        # Its lease would last a minute: only the successor, told of it, can bring the task back sooner.
        assert blocking.get(timeout=PATIENCE) is None
