"""Messages that would hold up a worker on RabbitMQ, or return for ever, if they were sent on as they came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from greenq.amqp.envelope import pack_header
from greenq.amqp.publishing import Parcel
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import PublishError
from greenq.message import Delivery, Message, Verdict
from greenq.results.rpc import RpcStore
from greenq.testing.messages import PATIENCE, ids, make, settle, take, until
from greenq.testing.payloads import decode, encode, encoded
from tests.rabbit import shared_rabbit


@pytest.fixture
def broker() -> Iterator[AmqpBroker]:
    with AmqpBroker(shared_rabbit().empty()) as made:
        made.lease("p", 60.0)
        made.declare(["q"])
        yield made


def put(broker: AmqpBroker, message: Message, header: bytes | None = None) -> None:
    """Send one past the checks of greenq's own senders."""
    publisher = broker._publisher
    session = publisher.line.session(time.monotonic() + PATIENCE)
    parcel = Parcel("q", "", "q", pack_header(message) if header is None else header, message.body)
    assert publisher.send(session, [parcel], time.monotonic() + PATIENCE) == [None]


def dies(broker: AmqpBroker, delivery: Delivery, **told: Any) -> None:
    assert settle(broker, [delivery], Verdict.DEAD, **told) == [True]
    until(lambda: broker.depth()["q"].dead == 1, "the dead letter")


def with_headers(**headers: Any) -> Message:
    message = make("1")
    message.headers.update(headers)
    return message


def test_a_copy_for_other_queues_is_not_sent_again_with_a_dead_letter(broker: AmqpBroker) -> None:
    put(broker, with_headers(CC=["other"]))
    (delivery,) = take(broker, 1)
    assert delivery.message is not None
    delivery.message.headers["CC"] = ["q"]
    dies(broker, delivery, reason="no task")
    assert broker.fetch(["q"], 1, 0.5) == []


def test_headers_of_a_whole_frame_do_not_keep_a_message_from_dying(broker: AmqpBroker) -> None:
    room = 131_072 - 20 - len(pack_header(with_headers(x="")))
    put(broker, with_headers(x="y" * room))
    (delivery,) = take(broker, 1)
    dies(broker, delivery, reason="no task", trace="t" * 500_000)
    (letter,) = broker.dead("q")
    assert letter.reason == "no task"
    assert b"y" * room in letter.raw
    assert broker.replay(letter.key)
    (again,) = take(broker, 1)
    assert again.message is not None
    assert again.message.headers["x"] == "y" * room
    settle(broker, [again], Verdict.ACK)


def test_a_traceback_without_end_is_cut(broker: AmqpBroker) -> None:
    broker.publish([make("1")], PATIENCE)
    (delivery,) = take(broker, 1)
    dies(broker, delivery, reason="r" * 500_000, trace="t" * 500_000)
    (letter,) = broker.dead("q")
    assert letter.message is not None
    assert ids([Delivery(letter.message, "q", ())]) == ["1"]
    assert set(letter.trace or "") == {"t"}


@pytest.mark.parametrize("headers", [{"x": "y" * 140_000}, {"x": float("inf")}])
def test_headers_that_would_end_the_connection_are_refused(
    broker: AmqpBroker, headers: dict[str, Any]
) -> None:
    (refused, taken) = broker.publish([with_headers(**headers), make("2")], PATIENCE)
    assert isinstance(refused, PublishError)
    assert taken is None


def test_a_time_in_the_far_future_holds_up_nobody(broker: AmqpBroker) -> None:
    put(broker, with_headers(eta="2099-12-31T23:59:59+00:00"))
    put(broker, make("2"))
    assert ids(take(broker, 1)) == ["2"]
    until(lambda: broker.depth()["q"].delayed == 1, "the delay")


def test_a_task_may_be_put_off_for_longer_than_delay_queues_reach(broker: AmqpBroker) -> None:
    broker.publish([make("1")], PATIENCE)
    (delivery,) = take(broker, 1)
    due = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
    assert settle(broker, [delivery], Verdict.RETRY_AT, due=due) == [True]


def test_what_another_user_signed_can_be_sent_on(broker: AmqpBroker) -> None:
    message = make("1")
    message.properties["user_id"] = "guest"
    put(broker, message)
    (delivery,) = take(broker, 1)
    assert delivery.message is not None
    delivery.message.properties["user_id"] = "somebody else"
    dies(broker, delivery, reason="no task")


def test_a_reply_to_a_queue_that_cannot_be_is_dropped_and_the_others_go() -> None:
    store = RpcStore(shared_rabbit().empty().replace("amqp://", "rpc://"), encode, decode)
    with store:
        lost, kept = encoded(store, "1"), encoded(store, "2")
        lost.reply_to, kept.reply_to = "x" * 300, store.reply_to
        store.put([lost, kept], PATIENCE)
        assert set(store.wait(["2"], PATIENCE)) == {"2"}
