"""Sending that does not wait for RabbitMQ's confirmation: what is kept of the promises, and what is not."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from greenq.amqp import methods
from greenq.amqp.address import parse
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import ConfigError, PublishError
from greenq.testing.messages import PATIENCE, ids, make, many, take
from tests.rabbit import shared_rabbit
from tests.waiting import until

OPTION = "?confirm_publish=no"


@pytest.fixture
def url() -> str:
    return shared_rabbit().empty()


@pytest.fixture
def sender(url: str) -> Iterator[AmqpBroker]:
    with AmqpBroker(url + OPTION) as made:
        yield made


def test_messages_arrive_in_their_order(url: str, sender: AmqpBroker) -> None:
    assert sender.publish(many(3), PATIENCE) == [None, None, None]
    assert sender.publish([make("last")], PATIENCE) == [None]
    with AmqpBroker(url) as broker:
        broker.lease("p", 60.0)
        assert ids(take(broker, 4)) == ["0", "1", "2", "last"]


def test_what_was_sent_arrives_though_the_sender_is_closed_at_once(url: str) -> None:
    with AmqpBroker(url + OPTION) as sender:
        assert sender.publish(many(10_000), PATIENCE) == [None] * 10_000
    with AmqpBroker(url) as broker:
        broker.expect(["q"])
        until(lambda: broker.depth()["q"].ready == 10_000, what="all that was sent")


LEAVING = """
import sys
from greenq.brokers.amqp import AmqpBroker
from greenq.testing.messages import PATIENCE, many

broker = AmqpBroker(sys.argv[1])
assert broker.publish(many(10_000), PATIENCE) == [None] * 10_000
"""


def test_what_was_sent_arrives_though_the_program_ends_and_closes_nothing(url: str) -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVING, url + OPTION], timeout=PATIENCE * 4, check=False)
    assert ended.returncode == 0
    with AmqpBroker(url) as broker:
        broker.expect(["q"])
        until(lambda: broker.depth()["q"].ready == 10_000, what="all that was sent")


def test_a_server_that_takes_no_more_is_waited_for_and_named(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = AmqpBroker(url + OPTION)
    assert sender.publish([make("first")], PATIENCE) == [None]
    assert sender._unconfirmed is not None
    session = sender._unconfirmed.line.alive
    assert session is not None
    outlet = session.connection._outlet
    assert outlet is not None
    monkeypatch.setattr(outlet.transport, "send", lambda data: 0)
    monkeypatch.setattr(session.connection, "_put", lambda data: 0)
    assert sender.publish([make("never")], PATIENCE) == [None]
    sender.close()
    assert "may not have arrived" in caplog.text
    assert "bytes were not sent" in caplog.text


def test_a_message_for_later_waits_for_its_time(url: str, sender: AmqpBroker) -> None:
    assert sender.publish([make("later", due=time.time() + 3600)], PATIENCE) == [None]
    with AmqpBroker(url) as broker:
        broker.expect(["q"])
        until(lambda: broker.depth().get("q") is not None and broker.depth()["q"].delayed == 1, what="it")


def test_what_no_queue_takes_is_logged(sender: AmqpBroker, caplog: pytest.LogCaptureFixture) -> None:
    assert sender.publish([make("first")], PATIENCE) == [None]
    assert sender._unconfirmed is not None
    session = sender._unconfirmed.line.alive
    assert session is not None
    session.aside([methods.delete_queue(1, "q")], time.monotonic() + PATIENCE)
    with caplog.at_level(logging.WARNING, "greenq.amqp"):
        assert sender.publish([make("lost")], PATIENCE) == [None]
        until(lambda: "no queue took them (the last for 'q'" in caplog.text, what="the warning")
    until(lambda: "q" not in session.declared, what="that the queue is known to be gone")
    assert sender.publish([make("kept")], PATIENCE) == [None]
    until(lambda: sender.depth()["q"].ready == 1, what="the message for the queue that was made again")


def test_sending_goes_on_after_a_lost_connection(sender: AmqpBroker) -> None:
    assert sender.publish([make("before")], PATIENCE) == [None]
    assert sender._unconfirmed is not None
    session = sender._unconfirmed.line.alive
    assert session is not None
    shared_rabbit().cut()
    until(lambda: session.lost is not None, what="the loss of the connection")
    assert sender.publish([make("after")], PATIENCE) == [None]
    until(lambda: sender.depth()["q"].ready == 2, what="both messages")


def test_a_message_that_cannot_be_sent_is_an_error_as_ever(sender: AmqpBroker) -> None:
    wrong, right = sender.publish([make("wrong", "two\nlines"), make("right")], PATIENCE)
    assert isinstance(wrong, PublishError)
    assert right is None


def test_what_a_worker_sends_is_confirmed_all_the_same(sender: AmqpBroker) -> None:
    sender.lease("p", 60.0)
    assert sender.publish([make("child")], PATIENCE) == [None]
    assert sender._unconfirmed is not None
    assert sender._unconfirmed.line.latest is None
    assert sender._publisher.line.alive is not None


def test_the_option_is_yes_or_no() -> None:
    assert parse("amqp://").confirm_publish
    assert parse("amqp://?confirm_publish=yes").confirm_publish
    assert not parse("amqp://?confirm_publish=false").confirm_publish
    with pytest.raises(ConfigError, match="confirm_publish is 'maybe': choose yes or no"):
        parse("amqp://?confirm_publish=maybe")
