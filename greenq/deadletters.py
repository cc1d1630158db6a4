"""Dead letters from Python: what `greenq dead` does, as `app.dead`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from greenq.brokers.base import Broker
from greenq.message import DeadLetter
from greenq.results.base import ResultStore

__all__ = ["DeadLetters"]

ALL: Final = 1_000_000_000
"""A limit that no broker's dead letters reach."""


class DeadLetters:
    """Messages that were given up: kept with their reason until they are replayed or purged.

    Parameters:
        broker, store: opened when they are needed.
    """

    def __init__(self, broker: Callable[[], Broker], store: Callable[[], ResultStore | None]) -> None:
        self._broker = broker
        self._store = store

    def list(self, queue: str | None = None, limit: int | None = 100) -> list[DeadLetter]:
        """The newest dead letters, of one queue or of all.

        Parameters:
            limit: at most so many; None for all.
        """
        return self._broker().dead(queue, ALL if limit is None else limit)

    def find(self, key: str) -> DeadLetter | None:
        """The dead letter of that key (`DeadLetter.key`); None if it is not there."""
        return next((letter for letter in self._broker().dead(None, ALL) if letter.key == key), None)

    def replay(self, letter: DeadLetter | str) -> bool:
        """Send a dead letter to its queue again, its attempts and its recorded end forgotten.

        Parameters:
            letter: itself, or its key.

        Returns:
            False if it is not there any more.

        Raises:
            BrokerError, ResultStoreError: it stays where it is.
        """
        found = self.find(letter) if isinstance(letter, str) else letter
        if found is None:
            return False
        store, id = self._store(), found.message.headers.get("id") if found.message is not None else None
        if store is not None and isinstance(id, str) and id:
            # Whoever waits for the result would be told the old end, and the new one would never be stored.
            store.forget([id])
        return self._broker().replay(found.key)

    def purge(self, queue: str | None = None) -> int:
        """Drop the dead letters of one queue or of all; how many they were."""
        return self._broker().bury(queue)
