"""Real workers that die, or stand still for longer than their lease, on real brokers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from greenq import GreenQ
from greenq.message import Depth, Result, Verdict
from greenq.testing.messages import settle, take
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until

HERE = Path(__file__).parent
PATIENCE = 120.0
INNOCENTS = 300


class Place:
    """Broker, store and ledger of one test, and the worker on them."""

    def __init__(self, kind: str, path: Path) -> None:
        self.path = path
        self.ledger = str(path / "ledger")
        if kind == "sqlite":
            broker = results = f"sqlite:///{path}/greenq.db"
        else:
            results = shared_redis().empty()
            broker = results if kind == "redis" else shared_rabbit().empty()
        self.environment = {"GREENQ_BROKER_URL": broker, "GREENQ_RESULTS_URL": results}
        self.app = GreenQ("poison", broker=broker, results=results)
        self.app.broker.declare(["celery"])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **environment: str) -> None:
        """Start a worker on gevent, and wait until it is up."""
        with (self.path / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "greenq", "worker", "-A", "poison", "--pool", "gevent", *arguments],
                cwd=self.path,
                env={**os.environ, "PYTHONPATH": str(HERE), **self.environment, **environment},
                stdout=log,
                stderr=log,
            )
        until(lambda: "config" in self.log or self.process.poll() is not None, "the banner", PATIENCE)
        assert self.process.poll() is None, self.log

    @property
    def log(self) -> str:
        return (self.path / "log").read_text()

    def lines(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError), open(self.ledger) as file:
            return file.read().splitlines()
        return []

    def child(self) -> int:
        """The process id of the one worker process."""
        assert self.process is not None
        [child] = psutil.Process(self.process.pid).children()
        return child.pid

    def depth(self) -> Depth:
        return self.app.broker.depth()["celery"]

    def ended(self, ids: list[str]) -> dict[str, Result]:
        assert self.app.results is not None
        return self.app.results.get(ids, PATIENCE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.app.close()


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path)
    try:
        yield made
    finally:
        made.close()


def on(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", kinds, indirect=True)


@on("sqlite", "redis", "rabbitmq")
def test_who_kills_its_process_is_given_up_and_no_innocent_is(place: Place) -> None:
    place.start("-c", f"{INNOCENTS + 50}", GREENQ_WORKER_MAX_DELIVERIES="4")
    app, ledger = place.app, place.ledger
    half = [app.send_task("poison.work", (ledger, n, 0.3)).id for n in range(INNOCENTS // 2)]
    killer = app.send_task("poison.kill", (ledger, 0.2)).id
    rest = [app.send_task("poison.work", (ledger, n, 0.3)).id for n in range(INNOCENTS // 2, INNOCENTS)]
    innocents = half + rest
    until(lambda: len(place.ended([*innocents, killer])) > INNOCENTS, "the end of all", PATIENCE)
    until(lambda: place.depth() == Depth(dead=1), "the settlement of all", PATIENCE)
    [letter] = app.dead.list("celery")
    assert letter.message is not None
    assert letter.message.headers["id"] == killer
    assert letter.reason == "the worker process that ran it died, 4 times"
    assert place.ended([killer])[killer].state == "FAILURE"
    assert {result.state for result in place.ended(innocents).values()} == {"SUCCESS"}
    lines = place.lines()
    assert lines.count("kill") == 4
    assert {line for line in lines if line.startswith("end")} == {f"end {n}" for n in range(INNOCENTS)}


@on("sqlite", "redis")
def test_a_process_that_stood_still_runs_nothing_twice(place: Place) -> None:
    place.start("-c", "20", GREENQ_WORKER_LEASE="1s")
    ids = [place.app.send_task("poison.work", (place.ledger, n, 2.0)).id for n in range(10)]
    until(lambda: len(place.lines()) == 10, "the start of all", PATIENCE)
    child = place.child()
    os.kill(child, signal.SIGSTOP)
    returned = 0

    def all_returned() -> bool:
        nonlocal returned
        returned += place.app.broker.reap()
        return returned == 10

    try:
        until(all_returned, "the end of the lease", PATIENCE)
    finally:
        os.kill(child, signal.SIGCONT)
    until(lambda: len(place.ended(ids)) == 10, "the end of all", PATIENCE)
    until(lambda: place.depth() == Depth(), "the settlement of all", PATIENCE)
    assert sorted(place.lines()) == sorted([f"{what} {n}" for n in range(10) for what in ("start", "end")])
    assert {result.state for result in place.ended(ids).values()} == {"SUCCESS"}
    assert place.child() == child


@on("sqlite", "redis")
def test_what_others_recorded_while_a_process_stood_still_is_not_overwritten(place: Place) -> None:
    place.start("-c", "20", GREENQ_WORKER_LEASE="1s")
    id = place.app.send_task("poison.work", (place.ledger, "a", 2.0)).id
    until(lambda: place.lines() == ["start a"], "the start", PATIENCE)
    child = place.child()
    os.kill(child, signal.SIGSTOP)
    try:
        until(lambda: place.app.broker.reap() == 1, "the end of the lease", PATIENCE)
        place.app.broker.lease("another", 60.0)
        [delivery] = take(place.app.broker, 1, ["celery"])
        assert delivery.attempts == 1
        record, store = Result(id, "SUCCESS", "the other's"), place.app.results
        assert store is not None
        store.encode(record)
        store.put([record], PATIENCE)
    finally:
        os.kill(child, signal.SIGCONT)
    until(lambda: "settlements refused" in place.log, "the refusal", PATIENCE)
    assert settle(place.app.broker, [delivery], Verdict.ACK) == [True]
    assert place.ended([id])[id].value == "the other's"
    assert place.depth() == Depth()


@on("sqlite", "redis", "rabbitmq")
def test_what_ended_before_its_process_died_unacknowledged_is_not_run_again(place: Place) -> None:
    app = place.app
    ids = [app.send_task("poison.work", (place.ledger, name, 0.0)).id for name in ("a", "b")]
    victim = GreenQ("victim", broker=app.settings.broker.url).broker
    victim.lease("victim", 60.0)
    take(victim, 2, ["celery"])
    record, store = Result(ids[0], "SUCCESS", "before it died"), app.results
    assert store is not None
    store.encode(record)
    store.put([record], PATIENCE)
    victim.close()
    app.broker.release("victim")
    place.start("-c", "20")
    until(lambda: len(place.ended(ids)) == 2, "the end of the other", PATIENCE)
    until(lambda: place.depth() == Depth(), "the settlement of both", PATIENCE)
    assert place.lines() == ["start b", "end b"]
    assert place.ended(ids)[ids[0]].value == "before it died"
