"""Messages and deadlines for conformance suites."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from greenq.brokers.base import Broker
from greenq.message import Delivery, Message, Settlement, Verdict

__all__ = ["ids", "make", "many", "refuses", "settle", "take", "until"]

PATIENCE = 30.0
"""Seconds that anything may take on a busy machine before a test gives up."""


def make(id: str = "1", queue: str = "q", **fields: Any) -> Message:
    """Make a message whose header ``id`` names it."""
    values: dict[str, Any] = {
        "headers": {"id": id, "task": "tests.add", "retries": 0, "eta": None},
        "body": b"[[1, 2], {}, {}]",
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }
    return Message(queue=queue, **(values | fields))


def many(count: int, queue: str = "q", **fields: Any) -> list[Message]:
    """Make messages named 0, 1, 2, …"""
    return [make(str(number), queue, **fields) for number in range(count)]


def ids(deliveries: Iterable[Delivery]) -> list[str]:
    """Return the names of what was delivered."""
    found = []
    for delivery in deliveries:
        assert delivery.message is not None, delivery.problem
        found.append(str(delivery.message.headers["id"]))
    return found


def take(broker: Broker, count: int, queues: Sequence[str] = ("q",)) -> list[Delivery]:
    """Fetch exactly `count` messages, in as many steps as the broker likes."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(taken) < count and time.monotonic() < deadline:
        taken += broker.fetch(queues, count - len(taken), 1.0)
    assert len(taken) == count, f"{len(taken)} of {count} messages came"
    return taken


def settle(broker: Broker, deliveries: Iterable[Delivery], verdict: Verdict, **fields: Any) -> list[bool]:
    """Settle deliveries all in the same way."""
    return broker.settle([Settlement(one, verdict, **fields) for one in deliveries], PATIENCE)


def refuses(kind: type[Exception], call: Callable[[], object], saying: str) -> None:
    """Expect a call to raise an error of that kind whose message has these words."""
    try:
        call()
    except kind as error:
        message = str(error)
    else:
        raise AssertionError(f"the call raised no {kind.__name__}")
    assert saying in message


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {patience} s"
        time.sleep(0.005)
