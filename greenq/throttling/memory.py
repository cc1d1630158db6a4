"""Limits inside one process, for tests and small programs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from greenq.errors import BrokerError
from greenq.throttling import statements
from greenq.throttling.base import Ask, Claim, Slot, ThrottleStore
from pools import native

__all__ = ["MemoryThrottle"]


class Space:
    """What the stores of one name share: a database in memory. No step of it waits for anything."""

    def __init__(self) -> None:
        self.lock = native.Lock()
        self._pid = 0

    def do(self, change: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        """Carry out one call; each is a transaction, as nothing else goes on meanwhile."""
        with self.lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                statements.create(self)
            return change(self, *arguments)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query to its end."""
        return self._connection.execute(statement, values).fetchall()


_spaces: dict[str, Space] = {}
_lock = native.Lock()


class MemoryThrottle(ThrottleStore):
    """Keeps limits in this process.

    Parameters:
        url: ``memory://name``; what has the same name shares them.
    """

    shared = False

    def __init__(self, url: str) -> None:
        with _lock:
            self._space = _spaces.setdefault(urlsplit(url).netloc, Space())
        self._closed = False

    def hold(self, claims: Sequence[Claim], timeout: float) -> list[str | None]:
        holders: list[str | None] = self._do(statements.hold, claims)
        return holders

    def free(self, holds: Sequence[tuple[str, str]], timeout: float) -> None:
        self._do(statements.free, holds)

    def admit(self, asks: Sequence[Ask], timeout: float) -> list[float]:
        dues: list[float] = self._do(statements.admit, asks)
        return dues

    def renew(self, slots: Sequence[Slot], seconds: float, timeout: float) -> list[Slot]:
        lost: list[Slot] = self._do(statements.renew, slots, seconds)
        return lost

    def retake(self, slots: Sequence[Slot], seconds: float, timeout: float) -> None:
        self._do(statements.retake, slots, seconds)

    def leave(self, slots: Sequence[Slot], timeout: float) -> None:
        self._do(statements.leave, slots)

    def pause(self, queue: str, timeout: float) -> bool:
        return bool(self._do(statements.pause, queue))

    def resume(self, queue: str, timeout: float) -> bool:
        return bool(self._do(statements.resume, queue))

    def paused(self, timeout: float) -> frozenset[str]:
        found: frozenset[str] = self._do(statements.paused)
        return found

    def expire(self, timeout: float) -> int:
        return int(self._do(statements.expire))

    def close(self) -> None:
        self._closed = True

    def _do(self, change: Callable[..., Any], *arguments: Any) -> Any:
        if self._closed:
            raise BrokerError("these limits are closed: open them again")
        return self._space.do(change, arguments)
