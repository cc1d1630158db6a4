"""Thousands of calls in few round trips, and what is told when some don't get through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from greenq.app import GreenQ
from greenq.call import Call
from greenq.errors import BrokerUnreachable, EncodeError, PartlySent, PublishError
from tests.greenq.recording import recorded_app


def vec() -> tuple[GreenQ, Any]:
    app, broker, _ = recorded_app("vec")

    @app.task(name="vec.add")
    def add(x: int, y: int) -> int:
        return x + y

    return app, broker


def test_thousands_are_sent_in_few_batches_and_in_order() -> None:
    app, broker = vec()
    add = app.tasks["vec.add"]
    results = app.send_many((add.call(n, n) for n in range(2500)), queue="bulk")
    assert broker.batches == [1000, 1000, 500]
    assert [result.id for result in results] == [message.headers["id"] for message in broker.sent]
    assert {message.queue for message in broker.sent} == {"bulk"}
    assert len({result.id for result in results}) == 2500


def test_calls_of_many_tasks_with_options_of_their_own_go_together() -> None:
    app, broker = vec()
    add = app.tasks["vec.add"]
    app.send_many([add.call(1, 2), add.call(3, 4).set(queue="own"), Call("x.y", (5,), {"z": 6})], queue="all")
    assert [(m.headers["task"], m.queue) for m in broker.sent] == [
        ("vec.add", "all"), ("vec.add", "own"), ("x.y", "all"),
    ]  # fmt: skip
    assert broker.batches == [3]


def test_nothing_to_send_sends_nothing() -> None:
    app, broker = vec()
    assert app.send_many([]) == []
    assert broker.batches == []


def test_what_was_not_sent_is_told_with_what_was() -> None:
    app, broker = vec()
    add = app.tasks["vec.add"]
    broker.refuse = lambda message: PublishError("full") if len(broker.sent) == 1000 else None
    calls = [add.call(n, n) for n in range(3000)]
    with pytest.raises(PartlySent, match="full") as caught:
        app.send_many(calls)
    assert len(caught.value.sent) == 1000
    assert [call for call, _ in caught.value.failed] == calls[1000:2000]


def test_a_broker_that_is_away_fails_the_batch() -> None:
    app, broker = vec()
    broker.away = BrokerUnreachable("nobody there")
    with pytest.raises(
        PartlySent, match="2 calls were not sent, 0 before were; the first of them: nobody there"
    ):
        app.send_many([Call("a"), Call("b")])
    with pytest.raises(BrokerUnreachable):
        app.send_many([Call("a")])


def test_a_mistake_among_many_is_told_after_what_came_before_was_sent() -> None:
    app, broker = vec()
    calls: Iterator[Call[Any]] = iter([Call("a"), Call("b", (object(),)), Call("c")])
    with pytest.raises(PartlySent) as caught:
        app.send_many(calls)
    assert isinstance(caught.value.failed[0][1], EncodeError)
    assert [message.headers["task"] for message in broker.sent] == ["a"]
    assert [result.id for result in caught.value.sent] == [broker.sent[0].headers["id"]]
