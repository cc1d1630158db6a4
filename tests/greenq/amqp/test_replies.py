"""Replies that are used again keep nothing of what they once brought."""

from __future__ import annotations

import gc

from greenq.amqp.channel import Reply
from greenq.amqp.failures import Failure
from greenq.brokers.amqp import AmqpBroker
from greenq.testing.messages import PATIENCE, ids, many, take, until
from tests.rabbit import shared_rabbit


def test_no_message_is_kept_by_the_reply_that_brought_it() -> None:
    with AmqpBroker(shared_rabbit().empty()) as broker:
        broker.lease("p", 60.0)
        assert broker.publish(many(50), PATIENCE) == [None] * 50
        assert len(ids(take(broker, 50))) == 50
        replies = [found for found in gc.get_objects() if isinstance(found, Reply)]
        assert replies
        kept = [answer for reply in replies for answer in reply.answers if answer[3]]
        assert not kept, "bodies of messages"


def test_replies_do_not_outlive_their_connection() -> None:
    """They refer to each other: only the collector would find them."""
    with AmqpBroker(shared_rabbit().empty()) as broker:
        broker.lease("p", 60.0)
        broker.publish(many(5), PATIENCE)
        take(broker, 5)
        session = broker._inbox.line.alive
        assert session is not None
        spent = session.connection._spent
        assert spent
        session.connection.abort(Failure("the test ended it"))
        until(lambda: not spent, "their end")
