"""What is kept of a connection that failed: its error, and no more."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from greenq.amqp.failures import Failure, Refused
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import BrokerUnreachable
from greenq.testing.messages import PATIENCE, make
from tests.rabbit import shared_rabbit


def test_the_error_of_a_refused_user_holds_no_frames_however_often_it_is_met() -> None:
    at = urlsplit(shared_rabbit().empty())
    with AmqpBroker(f"amqp://nobody:wrong@{at.hostname}:{at.port}{at.path}") as broker:
        connection = broker._publisher.line._current().connection
        assert connection.opened.wait(PATIENCE)
        with pytest.raises(BrokerUnreachable, match="user"):
            broker.publish([make("1")], PATIENCE)
        for _ in range(3):
            with pytest.raises(Failure) as met:
                connection.channel()
            assert "user" in str(met.value)
        kept: BaseException | None = connection.lost
        assert kept is not None
        assert kept is not met.value
        while kept is not None:
            assert kept.__traceback__ is None
            kept = kept.__cause__


def test_an_error_that_is_raised_again_says_all_that_the_first_said() -> None:
    first = Refused("no", 403)
    first.uncertain = True
    first.__cause__ = OSError("gone")
    again = first.again()
    assert again is not first
    assert (str(again), again.code, again.uncertain, again.__cause__) == ("no", 403, True, first.__cause__)
