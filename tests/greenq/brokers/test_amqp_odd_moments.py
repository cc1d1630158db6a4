"""The RabbitMQ broker when a step fails in the middle of several: no message may stay with nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any

import pytest

from greenq.amqp import methods
from greenq.amqp.charging import Charger
from greenq.amqp.envelope import TRIAL, pack_header
from greenq.amqp.failures import Failure
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import BrokerError
from greenq.message import Delivery, Depth, Settlement, Verdict
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


def test_what_has_ended_is_not_put_back_with_what_cannot_be_put_off(
    broker: AmqpBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publish([make("ended"), early("later")], PATIENCE)
    held = broker.fetch(["q"], 1, PATIENCE)
    assert ids(held) == ["ended"]
    session = broker._inbox.line.alive
    assert session is not None
    session.connection.abort(Failure("the test ended it"))
    assert settle(broker, held, Verdict.ACK) == [False]
    until(lambda: broker.depth()["q"].ready == 2, "its return")

    def unable(settlements: list[Settlement], deadline: float) -> None:
        if any(one.verdict is Verdict.RETRY_AT for one in settlements):
            raise BrokerError("a message could not be put aside")

    with monkeypatch.context() as patch:
        patch.setattr(broker._settler, "_move", unable)
        with pytest.raises(BrokerError, match="put aside"):
            broker.fetch(["q"], 2, PATIENCE)
    assert broker.fetch(["q"], 2, 0.5) == []
    until(lambda: broker.depth()["q"].delayed == 1, "the delay of what is early")


def test_a_copy_that_somebody_else_holds_for_a_moment_is_waited_for(broker: AmqpBroker) -> None:
    message = make("suspect")
    empty = methods.GET_EMPTY, b"", b"", b""

    def copy(tag: int, mark: str) -> Any:
        header = bytes(12) + pack_header(message, {TRIAL: mark}, expiring=False)
        return methods.GET_OK, methods.GET_OK.to_bytes(4, "big") + pack(">Q", tag), header, b""

    class Server:
        answers = [[copy(7, "another's")], [empty, empty], [copy(8, "ours")]]
        sent: list[bytes] = []

        def call(self, data: bytes, count: int, deadline: float) -> list[Any]:
            return self.answers.pop(0)

        channel = None
        connection = property(lambda self: self)

        def send(self, channel: Any, data: bytes) -> None:
            self.sent.append(data)

    charger: Charger = broker._charger
    server: Any = Server()
    assert charger._collect(server, "trial", ["ours"], time.monotonic() + PATIENCE) == {"ours": 8}
    assert server.sent == [methods.nack(1, 7)]


def test_charges_of_several_at_once_leave_each_its_own(broker: AmqpBroker) -> None:
    broker.publish([make(str(number)) for number in range(200)], PATIENCE)
    others = [AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}") for _ in range(3)]
    brokers: list[AmqpBroker] = [broker, *others]
    for number, other in enumerate(others):
        other.lease(f"p{number}", 60.0)
    held = [take(one, 50) for one in brokers]
    done: list[bool] = []

    def charge(one: AmqpBroker, deliveries: list[Delivery]) -> None:
        for _ in range(5):
            assert one.charge(deliveries, PATIENCE) == [True] * 50
        done.extend(one.settle([Settlement(d, Verdict.ACK) for d in deliveries], PATIENCE))

    threads = [threading.Thread(target=charge, args=pair) for pair in zip(brokers, held, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert done == [True] * 200
    for other in others:
        other.close()
    time.sleep(1.0)  # longer than anything can stay in the trial queue
    assert broker.depth()["q"] == Depth()


def test_waiting_by_a_session_that_is_over_leaves_no_trace_in_the_next_one(broker: AmqpBroker) -> None:
    """A charge may have begun the next one: what seems to wait there would never be told."""
    inbox = broker._inbox
    assert broker.fetch(["q"], 1, 0.1) == []
    old = inbox.line.session(time.monotonic() + PATIENCE)
    old.connection.close()
    until(lambda: old.lost is not None, "the end of the connection")
    until(lambda: inbox.line._drop(old) is None and inbox.line.alive is None, "its going")
    new = inbox.line.session(time.monotonic() + PATIENCE)
    assert new.number != old.number
    inbox.pushes.wait_at(old, {"q": "q"})
    broker.publish([make("told")], PATIENCE)
    assert ids(broker.fetch(["q"], 1, PATIENCE)) == ["told"]


def test_charging_beside_a_waiting_fetch_mistakes_no_answer(broker: AmqpBroker) -> None:
    """RabbitMQ confirms a consumer out of order: a copy that came instead would be held by nobody."""
    broker.publish([make(str(number)) for number in range(20)], PATIENCE)
    held = take(broker, 20)
    ends = threading.Event()

    def fetch() -> None:
        while not ends.is_set():
            # It waits, is told, and waits anew: each time a consumer is made.
            broker.fetch(["empty", "vacant"], 2, 0.001)
            broker._inbox.rest()

    fetching = threading.Thread(target=fetch)
    fetching.start()
    try:
        for _ in range(200):
            assert broker.charge(held, PATIENCE) == [True] * 20
    finally:
        ends.set()
        fetching.join(PATIENCE)
    assert settle(broker, held, Verdict.ACK) == [True] * 20
    assert broker.depth()["q"] == Depth()
