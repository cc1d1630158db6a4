"""Those who wait for results, and who waits for which: one reader serves them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pools import native

__all__ = ["Waiter", "Waiters"]


class Waiter:
    """One call that waits until any of its ids has ended."""

    __slots__ = ("found", "ids", "signal")

    def __init__(self, ids: frozenset[str]) -> None:
        self.ids = ids
        self.signal = native.Signal()
        self.found: dict[str, Any] = {}


class Waiters:
    """All waiting calls of a store, by id."""

    def __init__(self) -> None:
        self._lock = native.Lock()
        self._by_id: dict[str, list[Waiter]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_id)

    @contextmanager
    def waiting(self, ids: frozenset[str]) -> Iterator[Waiter]:
        """Take part for the duration of a ``with`` block."""
        waiter = Waiter(ids)
        with self._lock:
            for id in ids:
                self._by_id.setdefault(id, []).append(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                for id in ids:
                    others = self._by_id[id]
                    others.remove(waiter)
                    if not others:
                        del self._by_id[id]

    def wanted(self, ids: Iterable[str]) -> list[str]:
        """Which of these anybody waits for."""
        return [id for id in ids if id in self._by_id]

    def all(self) -> list[str]:
        """Every id that anybody waits for."""
        with self._lock:
            return list(self._by_id)

    def tell(self, found: Mapping[str, Any]) -> None:
        """Let those go on who wait for any of these."""
        with self._lock:
            for id, what in found.items():
                for waiter in self._by_id.get(id, ()):
                    waiter.found[id] = what
                    waiter.signal.set()

    def release(self) -> None:
        """Let all go on, with nothing."""
        with self._lock:
            for waiters in self._by_id.values():
                for waiter in waiters:
                    waiter.signal.set()
