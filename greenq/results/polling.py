"""Waiting for results where no server pushes: one reader looks for all who wait, only while some do."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping

from greenq.errors import GreenqError
from greenq.message import Result
from greenq.results.waiting import Waiters
from pools import native

__all__ = ["Poller"]

log = logging.getLogger("greenq.results")

FIRST, MOST = 0.02, 0.5
"""Seconds between two looks: doubled each time that nothing was found, up to the most."""
LINGER = 2.0
"""Seconds that the reader stays after the last one who waited."""


class Poller:
    """Looks for ended results again and again, at lengthening intervals.

    Parameters:
        find: returns those of the ids that have ended.
    """

    def __init__(self, find: Callable[[Collection[str]], Mapping[str, Result]]) -> None:
        self._find = find
        self._reset()

    def _reset(self) -> None:
        self.waiters = Waiters()
        self._pid = os.getpid()
        self._lock = native.Lock()
        self._thread: native.NativeThread | None = None
        self._hurry = native.Signal()
        self._closed = False

    def tell(self, ended: Mapping[str, Result]) -> None:
        """Let those go on who wait for any of these: they were stored here."""
        self.waiters.tell(ended)

    def wait(self, ids: frozenset[str], timeout: float) -> dict[str, Result]:
        """Wait up to `timeout` seconds until any has ended; those that have."""
        deadline = time.monotonic() + timeout
        if self._pid != os.getpid():
            self._reset()
        with self.waiters.waiting(ids) as waiter:
            found = dict(self._find(ids))
            if not found:
                self._start()
                if waiter.signal.wait(max(0.0, deadline - time.monotonic())):
                    found = dict(waiter.found)
        return found

    def close(self) -> None:
        """Let all go on, with nothing."""
        with self._lock:
            self._closed = True
            self._hurry.set()
        self.waiters.release()

    def _start(self) -> None:
        with self._lock:
            self._hurry.set()
            if self._thread is None and not self._closed:
                self._thread = native.start(self._read, "greenq-results")

    def _read(self) -> None:
        pause = FIRST
        idle_since = time.monotonic()
        while True:
            with self._lock:
                if self._hurry.is_set:
                    self._hurry = native.Signal()
                    pause = FIRST
                hurry = self._hurry
                if self.waiters:
                    idle_since = time.monotonic()
                elif self._closed or time.monotonic() - idle_since > LINGER:
                    self._thread = None
                    return
            hurry.wait(pause)
            pause = FIRST if self._look() else min(pause * 2, MOST)

    def _look(self) -> bool:
        ids = self.waiters.all()
        if not ids:
            return False
        try:
            found = self._find(ids)
        except GreenqError as error:
            log.warning("results cannot be looked for, next attempt soon: %s", error)
            return False
        self.waiters.tell(found)
        return bool(found)
