"""What every part of the broker suite starts from."""

from __future__ import annotations

import importlib
import itertools
from abc import ABC, abstractmethod
from typing import ClassVar, cast

from greenq.brokers.base import Broker
from greenq.testing.actor import Actor

__all__ = ["BrokerSuite"]

_names = (f"process-{number}" for number in itertools.count())


class BrokerSuite(ABC):
    """Gives each test an empty place, and closes what it opened.

    Attributes:
        opener: ``module:function`` that makes a broker from an address; must be importable.
    """

    opener: ClassVar[str] = "greenq.brokers:connect"

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

    def actor(self, *command: object) -> Actor:
        """Start another process that uses the same place."""
        return Actor(self.opener, self.here, *command)
