"""The RabbitMQ broker when a step fails in the middle of several: no message may stay with nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any

import pytest

from greenq.amqp import methods
from greenq.amqp.charging import Charger
from greenq.amqp.envelope import TRIAL, pack_header
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import BrokerError
from greenq.message import Settlement, Verdict
from greenq.testing.messages import PATIENCE, ids, make, settle, take, until
from tests.rabbit import shared_rabbit


@pytest.fixture
def broker() -> Iterator[AmqpBroker]:
    with AmqpBroker(shared_rabbit().empty()) as made:
        made.lease("p", 60.0)
        yield made


def early(id: str) -> Any:
    """A message as Celery sends one that is due in an hour."""
    eta = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return make(id, headers={"id": id, "task": "tests.add", "retries": 0, "eta": eta})


def test_what_is_to_run_is_not_lost_with_what_cannot_be_put_off(
    broker: AmqpBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publish([early("later"), make("now")], PATIENCE)
    settling = broker._settler
    really = settling.settle

    def unable(settlements: list[Settlement], deadline: float) -> list[bool]:
        if any(one.verdict is Verdict.RETRY_AT for one in settlements):
            raise BrokerError("a message could not be put aside")
        return really(settlements, deadline)

    with monkeypatch.context() as patch:
        patch.setattr(settling, "settle", unable)
        found = broker.fetch(["q"], 2, PATIENCE)
        assert ids(found) == ["now"]
        with pytest.raises(BrokerError, match="put aside"):
            broker.fetch(["q"], 2, PATIENCE)
    assert settle(broker, found, Verdict.ACK) == [True]
    assert broker.fetch(["q"], 2, 0.5) == []
    until(lambda: broker.depth()["q"].delayed == 1, "the delay of what is early")


def test_a_copy_that_comes_after_an_empty_answer_is_taken(broker: AmqpBroker) -> None:
    """A sweep may put it back between the two."""
    message = make("suspect")
    header = bytes(12) + pack_header(message, {TRIAL: "mark"}, expiring=False)
    empty = methods.GET_EMPTY, b"", b"", b""
    copy = methods.GET_OK, methods.GET_OK.to_bytes(4, "big") + pack(">Q", 7), header, b""

    class Server:
        def call(self, data: bytes, count: int, deadline: float) -> list[Any]:
            return [empty, copy]

    charger: Charger = broker._charger
    server: Any = Server()
    deadline = time.monotonic() + PATIENCE
    assert charger._collect(server, "trial", ["mark", "other"], deadline) == ({"mark": 7}, [])
    assert charger._collect(server, "trial", ["other", "another"], deadline) == ({}, [7])


def test_a_charge_beside_a_sweep_leaves_nothing_with_nobody(broker: AmqpBroker) -> None:
    broker.publish([make(str(number)) for number in range(50)], PATIENCE)
    held = take(broker, 50)
    ours = broker.charge(held, PATIENCE)
    broker.reap()
    ran = [one for one, is_ours in zip(held, ours, strict=True) if is_ours]
    assert settle(broker, ran, Verdict.ACK) == [True] * len(ran)
    found = len(ran)
    deadline = time.monotonic() + PATIENCE
    while found < 50:
        assert time.monotonic() < deadline
        broker.reap()
        again = broker.fetch(["q"], 50, 0.5)
        found += sum(settle(broker, again, Verdict.ACK))
    assert broker.depth()["q"].ready == 0


def test_waiting_by_a_session_that_is_over_leaves_no_trace_in_the_next_one(broker: AmqpBroker) -> None:
    """A charge or a sweep may have begun the next one: what seems to wait there would never be told."""
    inbox = broker._inbox
    assert broker.fetch(["q"], 1, 0.1) == []
    old = inbox.line.session(time.monotonic() + PATIENCE)
    old.connection.close()
    until(lambda: old.lost is not None, "the end of the connection")
    until(lambda: inbox.line._drop(old) is None and inbox.line.alive is None, "its going")
    new = inbox.line.session(time.monotonic() + PATIENCE)
    assert new.number != old.number
    inbox._subscribe(old, ["q"], time.monotonic() + PATIENCE)
    broker.publish([make("told")], PATIENCE)
    assert ids(broker.fetch(["q"], 1, PATIENCE)) == ["told"]
