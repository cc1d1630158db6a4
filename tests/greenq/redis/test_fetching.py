"""Taking and waiting with one request: what is there is found, what comes wakes, whenever it comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from greenq.brokers.redis import RedisBroker
from greenq.message import Delivery, Verdict
from greenq.redis.link import Link
from greenq.redis.plans import TRACKED
from greenq.redis.resp import pack_one
from greenq.testing.messages import PATIENCE, ids, make, many, settle, until
from tests.servers import RedisServer, shared_redis

LOOK = pack_one(TRACKED)
LONG = 30.0
"""Seconds that a fetch may wait; it must not come to that."""


@pytest.fixture
def broker() -> Iterator[RedisBroker]:
    with RedisBroker(shared_redis().empty()) as opened:
        opened.lease("process", 30.0)
        yield opened


def test_who_has_taken_the_last_only_waits() -> None:
    server = RedisServer()
    with RedisBroker(server.url) as broker:
        broker.lease("process", 30.0)
        broker.publish([make("a")], PATIENCE)
        assert ids(broker.fetch(["q"], 9, 0)) == ["a"]
        before = server.calls()
        waiting = threading.Thread(target=broker.fetch, args=(["q"], 9, LONG))
        waiting.start()
        until(lambda: broker._fetcher and broker._fetcher._waiting, "waiting")
        assert server.calls() == before
        broker.wake()
        waiting.join(PATIENCE)
    server.stop()


def test_who_was_told_of_nothing_for_long_looks_again(broker: RedisBroker) -> None:
    """Or nobody would notice that the connection is dead."""
    broker.publish([make("a")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, LONG)) == ["a"]
    before = shared_redis().calls()
    for _ in range(2):
        assert broker.fetch(["q"], 9, 0.05) == []
    assert shared_redis().calls() > before


def test_what_came_before_the_wait_ends_it(broker: RedisBroker) -> None:
    for message in many(20):
        broker.publish([message], PATIENCE)
        assert len(broker.fetch(["q"], 9, LONG)) == 1


def test_a_fetch_that_may_not_wait_looks(broker: RedisBroker) -> None:
    broker.publish([make("a")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, 0)) == ["a"]
    broker.publish([make("b")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, 0)) == ["b"]


def test_another_queue_is_looked_at(broker: RedisBroker) -> None:
    broker.publish([make("a"), make("b", "other")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, LONG)) == ["a"]
    assert ids(broker.fetch(["other"], 9, LONG)) == ["b"]
    broker.publish([make("c")], PATIENCE)
    assert ids(broker.fetch(["other", "q"], 9, LONG)) == ["c"]


def test_a_wake_between_two_fetches_ends_the_next_at_once(broker: RedisBroker) -> None:
    broker.publish([make("a")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, LONG)) == ["a"]
    broker.wake()
    assert broker.fetch(["q"], 9, LONG) == []
    broker.publish([make("b")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, LONG)) == ["b"]


def test_what_is_put_back_by_the_same_process_wakes(broker: RedisBroker) -> None:
    broker.publish([make("a")], PATIENCE)
    for _ in range(5):
        [delivery] = broker.fetch(["q"], 9, LONG)
        settle(broker, [delivery], Verdict.REQUEUE)


def test_what_is_to_come_later_is_taken_when_it_is_due(broker: RedisBroker) -> None:
    broker.publish([make("a")], PATIENCE)
    assert ids(broker.fetch(["q"], 9, LONG)) == ["a"]
    broker.publish([make("b", due=time.time() + 0.3)], PATIENCE)
    assert ids(broker.fetch(["q"], 9, LONG)) == ["b"]


def test_what_is_to_come_later_keeps_nobody_from_what_is_there(broker: RedisBroker) -> None:
    broker.publish([make("late", due=time.time() + 3600)], PATIENCE)
    for message in many(5):
        broker.publish([message], PATIENCE)
        assert len(broker.fetch(["q"], 9, LONG)) == 1
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.extend(broker.fetch(["q"], 9, LONG)))
    waiting.start()
    broker.publish([make("a")], PATIENCE)
    waiting.join(PATIENCE)
    assert ids(found) == ["a"]


def test_what_comes_between_taking_and_looking_is_found(
    broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may carry out others' commands between two that were sent together."""
    exchange = Link.exchange
    came = iter(many(3))

    def in_two_parts(link: Link, data: bytes, count: int, deadline: float, sure: bool = False) -> list[Any]:
        take, look, rest = data.partition(LOOK)
        if not look or not take:
            return exchange(link, data, count, deadline, sure)
        first = exchange(link, take, 1, deadline)
        monkeypatch.setattr(Link, "exchange", exchange)
        broker.publish([message for _, message in zip(range(1), came, strict=False)], PATIENCE)
        monkeypatch.setattr(Link, "exchange", in_two_parts)
        return first + exchange(link, look + rest, count - 1, deadline)

    monkeypatch.setattr(Link, "exchange", in_two_parts)
    taken: list[Delivery] = []
    while len(taken) < 3:
        found = broker.fetch(["q"], 9, LONG)
        assert found
        taken += found
    assert len(set(ids(taken))) == 3
