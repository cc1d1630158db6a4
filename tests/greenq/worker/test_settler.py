"""Outcomes leave in batches, none is lost on the way, and one that can't leave holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq import GreenQ
from greenq.errors import BrokerUnreachable
from greenq.message import Depth, Message, Outcome, Settlement, Verdict
from greenq.worker.settler import Settler
from tests.waiting import until


@pytest.fixture
def app(tmp_path: Path) -> Iterator[GreenQ]:
    url = f"sqlite:///{tmp_path}/greenq.db"
    app = GreenQ("shop", broker=url, results=url)
    app.broker.lease("test", 60)
    yield app
    app.close()


def outcomes(app: GreenQ, count: int) -> list[Outcome]:
    for n in range(count):
        app.send_task("shop.add", (n,))
    return [
        Outcome(delivery, settlement=Settlement(delivery, Verdict.ACK))
        for delivery in app.broker.fetch(["celery"], count, 5)
    ]


def settle(settler: Settler, batch: list[Outcome]) -> None:
    for outcome in batch:
        settler.add(outcome)
    settler.stop()
    thread = threading.Thread(target=settler.run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_what_has_gathered_leaves_in_one_commit(app: GreenQ) -> None:
    settler = Settler(app.broker, app.results, 5, 1000)
    commits: list[int] = []
    settler.on_commit = commits.append
    settle(settler, outcomes(app, 50))
    assert commits == [50]
    assert app.broker.depth()["celery"] == Depth()


@pytest.mark.parametrize("fused", [True, False])
def test_a_child_that_the_broker_refuses_costs_its_parent_only(app: GreenQ, fused: bool) -> None:
    batch = outcomes(app, 5)
    good, bad = (
        Message(name, {"task": "t", "id": "1"} if name == "next" else {"task": object()}, b"", "", "")
        for name in ("next", "next-bad")
    )
    batch[1].publishes, batch[3].publishes = (good,), (bad,)
    store = app.results if fused else None
    settle(Settler(app.broker, store, 5, 1000), batch)
    depth = app.broker.depth()
    assert depth["celery"] == Depth(dead=1)
    assert depth["next"] == Depth(ready=1, by_priority={0: 1})
    assert "could not be sent" in app.broker.dead()[0].reason


def test_outcomes_wait_while_the_broker_is_away_and_fetching_pauses(
    app: GreenQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = outcomes(app, 3)
    away = threading.Event()
    away.set()
    real = app.broker.settle

    def settle_when_back(settlements, timeout):
        if away.is_set():
            raise BrokerUnreachable("away for the test")
        return real(settlements, timeout)

    app.broker.settle = settle_when_back
    monkeypatch.setattr("greenq.worker.settler.LEAST_OUTCOMES", 3)
    settler = Settler(app.broker, None, 5, 0)
    thread = threading.Thread(target=settler.run, daemon=True)
    thread.start()
    for outcome in batch:
        settler.add(outcome)
    until(lambda: settler.congested, what="fetching is told to pause")
    away.clear()
    until(lambda: settler.committed == 3, what="they leave when it is back")
    assert not settler.congested
    settler.stop()
    thread.join(10)
    assert app.broker.depth()["celery"] == Depth()


def test_what_cannot_leave_is_given_up_at_the_end_and_stays_leased(app: GreenQ) -> None:
    batch = outcomes(app, 2)

    def never(settlements, timeout):
        raise BrokerUnreachable("away for good")

    app.broker.settle = never
    settler = Settler(app.broker, None, 5, 100)
    thread = threading.Thread(target=settler.run, daemon=True)
    thread.start()
    for outcome in batch:
        settler.add(outcome)
    settler.stop()
    settler.abandon()
    thread.join(10)
    assert not thread.is_alive()
    assert app.broker.depth()["celery"].leased == 2


def test_a_settlement_under_a_lost_lease_is_counted(app: GreenQ) -> None:
    batch = outcomes(app, 2)
    app.broker.release("test")
    settler = Settler(app.broker, None, 5, 100)
    settle(settler, batch)
    assert settler.lost == 2
    assert app.broker.depth()["celery"].ready == 2


def test_an_idle_settler_never_keeps_the_consumer_from_fetching(app: GreenQ) -> None:
    settler = Settler(app.broker, app.results, 5, 1)
    thread = threading.Thread(target=settler.run, daemon=True)
    thread.start()
    try:
        for outcome in outcomes(app, 5):
            settler.add(outcome)
        until(lambda: settler.committed == 5, "all have left")
        settler.congested = True  # as one says that was slow to say it
        until(lambda: not settler.congested, "fetching goes on")
    finally:
        settler.stop()
        thread.join(20)
