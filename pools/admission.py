"""Who is in a pool, and who waits to get in: first come, first served."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pools import native
from pools.base import Call
from pools.errors import PoolClosed

__all__ = ["Admission", "Ticket", "open_all"]


class Ticket:
    """A call on its way into a pool.

    Parameters:
        call: the call.
        payload: the pool's own.
    """

    __slots__ = ("call", "gate", "payload", "refused")

    def __init__(self, call: Call, payload: Any = None) -> None:
        self.call = call
        self.payload = payload
        self.gate = native.Signal()
        self.refused = False


class Admission:
    """Gives out slots.

    Parameters:
        name: the pool's, for messages.
        capacity: how many slots there are.
        begin: called with a ticket that has got its slot, with the lock held.

    Attributes:
        lock: hold it around what is marked so, and around what must change together with that.
        calls: those that have a slot.
        closed: whether `close` was called.
    """

    def __init__(self, name: str, capacity: int, begin: Callable[[Ticket], object]) -> None:
        self.lock = native.Lock()
        self.calls: set[Call] = set()
        self.closed = False
        self._name = name
        self._capacity = capacity
        self._enough = 1
        """How many slots must be free for those who wait for free ones to be told."""
        self._begin = begin
        self._queue: deque[Ticket] = deque()
        self._watchers: list[native.Signal] = []

    @property
    def free(self) -> int:
        """How many slots are free; never negative."""
        return max(0, self._capacity - len(self.calls))

    def enter(self, ticket: Ticket, wait: bool = True, before: Callable[[], object] | None = None) -> None:
        """Take a slot, waiting until there is one.

        Parameters:
            wait: False to get in at once, even if that is one too many.
            before: called when there is none; it may raise an exception instead of waiting.

        Raises:
            PoolClosed: the pool has been closed, also while waiting.
        """
        with self.lock:
            self.refuse_closed()
            if not wait or (self.free and not self._queue):
                self._admit(ticket)
                return
            if before is not None:
                before()
            self._queue.append(ticket)
        try:
            ticket.gate.wait()
        except BaseException:
            with self.lock:
                if ticket in self._queue:
                    self._queue.remove(ticket)
            raise
        if ticket.refused:
            self.refuse_closed()

    def _admit(self, ticket: Ticket) -> None:
        self.calls.add(ticket.call)
        self._begin(ticket)

    def leave(self, call: Call) -> list[native.Signal]:
        """Give a slot back; with the lock held.

        Returns:
            What to set when the lock has been released: whoever is woken will want it.
        """
        self.calls.discard(call)
        return self._fill()

    def _fill(self) -> list[native.Signal]:
        woken = []
        while self._queue and self.free:
            ticket = self._queue.popleft()
            self._admit(ticket)
            woken.append(ticket.gate)
        if self._watchers and self.free >= self._enough:
            woken += self._watchers
            self._watchers.clear()
        return woken

    def resize(self, capacity: int, enough: int = 1) -> None:
        """Change how many slots there are.

        Parameters:
            enough: how many must be free for those who wait to be told: waking takes longer than short calls.
        """
        with self.lock:
            self._capacity = capacity
            self._enough = enough
            woken = self._fill()
        open_all(woken)

    def wait_free(self, timeout: float | None, before: Callable[[], object] | None = None) -> int:
        """Wait up to `timeout` seconds until a slot is free; return how many are.

        Parameters:
            before: as for `enter`.

        Raises:
            PoolClosed: the pool has been closed, also while waiting.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self.lock:
                self.refuse_closed()
                rest = None if deadline is None else deadline - time.monotonic()
                if self.free >= self._enough or (rest is not None and rest <= 0):
                    return self.free
                if before is not None:
                    before()
                watcher = native.Signal()
                self._watchers.append(watcher)
            try:
                watcher.wait(rest)
            finally:
                with self.lock:
                    if watcher in self._watchers:
                        self._watchers.remove(watcher)

    def close(self) -> None:
        """Let nobody in any more, and refuse those that wait."""
        with self.lock:
            self.closed = True
            for ticket in self._queue:
                ticket.refused = True
            woken = [ticket.gate for ticket in self._queue] + self._watchers
            self._queue.clear()
            self._watchers = []
        open_all(woken)

    def refuse_closed(self) -> None:
        """Raise `PoolClosed` if it is."""
        if self.closed:
            raise PoolClosed(f"the {self._name} pool is closed and takes no more calls")


def open_all(signals: Iterable[native.Signal]) -> None:
    """Set them."""
    for each in signals:
        each.set()
