"""What every part of the result store suite starts from."""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, cast

from greenq.message import Result
from greenq.results.base import ResultStore
from greenq.testing.actor import Actor
from greenq.testing.messages import PATIENCE
from greenq.testing.payloads import decode, encode, encoded

__all__ = ["StoreSuite"]


class StoreSuite(ABC):
    """Gives each test an empty place, and closes what it opened.

    Attributes:
        opener: ``module:function`` that makes a store from an address, `encode` and `decode`; importable.
        crowd: how many results are many. Only for a store that would take minutes with so many.
    """

    opener: ClassVar[str] = "greenq.results:connect"
    crowd: ClassVar[int] = 3000

    @abstractmethod
    def address(self) -> str:
        """Return the address of a place that no earlier test has used."""

    def setup_method(self) -> None:
        """Called by pytest before each test."""
        self.here = self.address()
        self._opened: list[ResultStore] = []
        self.store = self.open()

    def teardown_method(self) -> None:
        """Called by pytest after each test."""
        for store in self._opened:
            store.close()

    def open(self) -> ResultStore:
        """Make another store for the same place."""
        module, _, name = self.opener.partition(":")
        make = getattr(importlib.import_module(module), name)
        store = cast("ResultStore", make(self.here, encode, decode))
        self._opened.append(store)
        return store

    def actor(self, *command: object) -> Actor:
        """Start another process that uses the same place."""
        return Actor(self.opener, self.here, *command)

    def put(self, id: str, state: str = "SUCCESS", value: Any = None, expires: float | None = None) -> None:
        """Store one result."""
        self.store.put([encoded(self.store, id, state, value, expires)], PATIENCE)

    def get(self, id: str) -> Result | None:
        """Read one result."""
        return self.store.get([id], PATIENCE).get(id)

    def beside(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """Start a call in another thread; the function returned waits for its value."""
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(call()))
        thread.start()

        def value() -> Any:
            thread.join(PATIENCE)
            assert found, "the call did not end"
            return found[0]

        return value
