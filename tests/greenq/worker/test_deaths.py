"""Real workers that die, or stand still for longer than their lease, on real brokers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq import GreenQ
from greenq.message import Depth, Result, Verdict
from greenq.testing.messages import settle, take
from tests.greenq.worker.ledgered import PATIENCE, Place
from tests.waiting import until

INNOCENTS = 300


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place("poison", request.param, tmp_path)
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
