"""What every part of the broker suite starts from."""

from __future__ import annotations

import importlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, cast

from greenq.brokers.base import Broker
from greenq.message import Delivery
from greenq.testing.actor import Actor
from greenq.testing.messages import ids

__all__ = ["BrokerSuite"]

HOSTILE = (
    "очередь",
    "队列",
    "🚚",
    "'; DROP TABLE messages; --",
    'double " quote',
    "back\\slash",
    "new\nline",
    "%s {0} $1",
    "a/b.c*d",
    " ",
    "x" * 200,
)

_names = (f"process-{number}" for number in itertools.count())


class BrokerSuite(ABC):
    """Gives each test an empty place, and closes what it opened.

    Attributes:
        opener: ``module:function`` that makes a broker from an address; must be importable.
        crowd: how many messages are many. Only for a broker that would take minutes with so many.
        names: queue names that must work; a broker that can't have them all says so with a `PublishError`.
    """

    opener: ClassVar[str] = "greenq.brokers:connect"
    crowd: ClassVar[int] = 10_000
    names: ClassVar[tuple[str, ...]] = HOSTILE

    @abstractmethod
    def address(self) -> str:
        """Return the address of a place that no earlier test has used."""

    def setup_method(self) -> None:
        """Called by pytest before each test."""
        self.here = self.address()
        self._opened: list[Broker] = []
        self.broker = self.open()
        self.process = next(_names)
        self.broker.lease(self.process, 60.0)

    def teardown_method(self) -> None:
        """Called by pytest after each test."""
        for broker in self._opened:
            broker.close()

    def open(self, seconds: float | None = None) -> Broker:
        """Make another broker for the same place.

        Parameters:
            seconds: of its own lease; None takes none.
        """
        module, _, name = self.opener.partition(":")
        broker = cast("Broker", getattr(importlib.import_module(module), name)(self.here))
        self._opened.append(broker)
        if seconds is not None:
            broker.lease(next(_names), seconds)
        return broker

    def in_order(self, deliveries: Iterable[Delivery]) -> list[str]:
        """The names of what was delivered, sorted if the broker does not promise an order."""
        found = ids(deliveries)
        return found if self.broker.guarantees.ordered else sorted(found, key=lambda id: (len(id), id))

    def actor(self, *command: object) -> Actor:
        """Start another process that uses the same place."""
        return Actor(self.opener, self.here, *command)
