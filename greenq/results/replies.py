"""Replies that have come and that nobody has asked for yet, never more than fit into the memory set aside."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from pools import native

__all__ = ["KEPT", "KEPT_BYTES", "Replies", "Reply"]

KEPT = 100_000
"""Replies that are kept until somebody asks for them; then the oldest go."""
KEPT_BYTES = 256 * 2**20
"""Bytes of all replies that are kept; then the oldest go, but never the newest."""


class Reply(NamedTuple):
    """What came for one call.

    Parameters:
        until: when it is forgotten, by the monotonic clock.
    """

    terminal: bool
    body: bytes
    until: float


class Replies:
    """Replies by the id of their call; for any thread."""

    def __init__(self) -> None:
        self._lock = native.Lock()
        self._kept: OrderedDict[str, Reply] = OrderedDict()
        self._bytes = 0

    def add(self, id: str, reply: Reply) -> bool:
        """Keep what came; False if the call had ended before, and this is nothing new."""
        with self._lock:
            known = self._kept.get(id)
            if known is not None and known.terminal and known.until > time.monotonic():
                return False
            self._drop(id)
            self._kept[id] = reply
            self._bytes += len(reply.body)
            while len(self._kept) > KEPT or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
                self._drop(next(iter(self._kept)))
        return True

    def bodies(self, ids: Iterable[str], terminal: bool = False) -> dict[str, bytes]:
        """The newest of what came for each call.

        Parameters:
            terminal: only what ended a call, be its time over or not: somebody waited for it.
        """
        now = time.monotonic()
        with self._lock:
            return {
                id: reply.body
                for id in ids
                if (reply := self._kept.get(id)) is not None
                and (reply.terminal if terminal else reply.until > now)
            }

    def forget(self, ids: Iterable[str]) -> None:
        """Drop what came for these calls."""
        with self._lock:
            for id in ids:
                self._drop(id)

    def expire(self) -> int:
        """Drop what was not asked for in time; how many they were."""
        now = time.monotonic()
        with self._lock:
            over = [id for id, reply in self._kept.items() if reply.until <= now]
            for id in over:
                self._drop(id)
        return len(over)

    def _drop(self, id: str) -> None:
        dropped = self._kept.pop(id, None)
        if dropped is not None:
            self._bytes -= len(dropped.body)
