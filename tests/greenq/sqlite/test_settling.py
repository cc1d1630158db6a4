"""Acknowledging what came together, which takes a shorter way than the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.brokers.sqlite import SqliteBroker
from greenq.message import Delivery, Depth, Verdict
from greenq.testing.messages import PATIENCE, many, settle, take


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[SqliteBroker]:
    with SqliteBroker(f"sqlite:///{tmp_path}/greenq.db") as made:
        made.lease("p", 60.0)
        yield made


def fetched(broker: SqliteBroker, count: int) -> list[Delivery]:
    """Messages that came by one fetch."""
    broker.publish(many(count), PATIENCE)
    deliveries = take(broker, count)
    assert len({one.token[2] for one in deliveries}) == 1
    return deliveries


def test_all_of_one_fetch_are_acknowledged(broker: SqliteBroker) -> None:
    assert settle(broker, fetched(broker, 600), Verdict.ACK) == [True] * 600
    assert broker.depth()["q"] == Depth()


def test_one_that_is_acknowledged_twice_at_once_counts_once(broker: SqliteBroker) -> None:
    first, second = fetched(broker, 2)
    assert settle(broker, [first, second, first], Verdict.ACK) == [True, True, False]
    assert broker.depth()["q"] == Depth()


def test_one_that_is_lost_among_many_is_told_apart(broker: SqliteBroker) -> None:
    deliveries = fetched(broker, 5)
    assert settle(broker, deliveries[2:3], Verdict.ACK) == [True]
    assert settle(broker, deliveries, Verdict.ACK) == [True, True, False, True, True]
    assert broker.depth()["q"] == Depth()


def test_another_processes_lease_is_not_ended(broker: SqliteBroker, tmp_path: Path) -> None:
    deliveries = fetched(broker, 3)
    with SqliteBroker(f"sqlite:///{tmp_path}/greenq.db") as other:
        other.lease("other", 60.0)
        owner, number, fence = deliveries[0].token
        forged = Delivery(None, "q", (owner, number, fence + 1))
        assert settle(other, [forged], Verdict.ACK) == [False]
    assert broker.depth()["q"].leased == 3


def test_two_fetches_are_settled_together(broker: SqliteBroker) -> None:
    both = [*fetched(broker, 2), *fetched(broker, 2)]
    assert settle(broker, both, Verdict.ACK) == [True] * 4
    assert broker.depth()["q"] == Depth()
