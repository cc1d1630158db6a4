"""Gathers deliveries of tasks that take many at once, and starts each batch in one slot.

What is gathered holds no slot: it waits here under this process's lease, at most one batch of each task and
what came with the last fetch. A batch starts when it is full, when its first delivery has waited long enough,
or when the worker stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from greenq.errors import GreenqError
from greenq.message import Delivery
from greenq.worker.handlers import Handler
from pools.errors import PoolClosed

__all__ = ["Batches"]

log = logging.getLogger("greenq.batches")

IDLE = 5.0
AWAY = 0.5
"""Seconds until a batch that could not be started is tried again, as while the broker is away."""
BEHIND = 2
"""Batches that may wait for a slot before nothing more is fetched."""


class Starter(Protocol):
    """Starts a batch: gives back from `deliveries` what it did not take care of."""

    def __call__(self, deliveries: list[Delivery]) -> None: ...


class Group:
    """Deliveries of one task that wait for others."""

    __slots__ = ("deliveries", "due")

    def __init__(self, due: float) -> None:
        self.deliveries: list[Delivery] = []
        self.due = due


class Batches:
    """Gathers and starts, in a service of its own: no other delivery waits for a batch.

    Parameters:
        handlers: all tasks, by name.
        start: starts deliveries as one call, in one slot, waiting for it; takes out of the list what it has
            taken care of, whatever it raises.
        give_back: puts a delivery back into its queue.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        start: Starter,
        give_back: Callable[[Delivery], None],
    ) -> None:
        self._batch = {name: one.batch for name, one in handlers.items() if one.batch is not None}
        self._start = start
        self._give_back = give_back
        self._lock = threading.Lock()
        self._groups: dict[str, Group] = {}
        self._ready: list[list[Delivery]] = []
        self._stopping = False
        self.abandoned = False
        self._hurried = False
        self._wake = threading.Event()
        self.quiet = threading.Event()
        """Set once it starts nothing any more."""
        if not self._batch:
            self.quiet.set()

    def __bool__(self) -> bool:
        """Whether any task takes batches."""
        return bool(self._batch)

    def __len__(self) -> int:
        """How many deliveries wait."""
        return len(self.held())

    def held(self) -> list[Delivery]:
        """What waits here."""
        with self._lock:
            whole = [*self._ready, *(group.deliveries for group in self._groups.values())]
            return [delivery for deliveries in whole for delivery in deliveries]

    @property
    def behind(self) -> bool:
        """Whether so many batches wait for a slot that nothing more should be fetched."""
        return len(self._ready) >= BEHIND

    def take(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Keep what belongs to batches; the others."""
        others: list[Delivery] = []
        now = time.monotonic()
        with self._lock:
            for delivery in deliveries:
                name = delivery.message.headers.get("task") if delivery.message is not None else None
                batch = self._batch.get(name) if type(name) is str else None
                if batch is None or type(name) is not str:
                    others.append(delivery)
                    continue
                group = self._groups.get(name)
                if group is None:
                    group = self._groups[name] = Group(now + batch.seconds)
                group.deliveries.append(delivery)
                if len(group.deliveries) >= batch.size:
                    self._ready.append(self._groups.pop(name).deliveries)
        if len(others) < len(deliveries):
            self._wake.set()
        return others

    def hurry(self) -> None:
        """Start what there is: nothing more will come for now."""
        self._hurried = True
        self._wake.set()

    def stop(self) -> None:
        """Start what there is, however little, and then nothing more."""
        self._stopping = True
        self._wake.set()

    def abandon(self) -> None:
        """Start nothing more, and give back what waits."""
        self.abandoned = True
        self._wake.set()

    # ── the service ──────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Start batches when they are due, until `stop`: the service."""
        try:
            while not self.abandoned:
                self._wake.clear()
                stopping = self._stopping
                pause = self._collect(stopping)
                try:
                    self._start_ready()
                except PoolClosed:
                    break
                except GreenqError as error:
                    log.warning("a batch cannot be started, next attempt in %g s: %s", AWAY, error)
                    pause = AWAY
                    stopping = False  # as long as the stop has time, it is tried again
                if stopping:
                    break
                if pause > 0:
                    self._wake.wait(pause)
        finally:
            for delivery in self.held():
                self._give_back(delivery)
            self._ready.clear()
            self._groups.clear()
            self.quiet.set()

    def _collect(self, everything: bool) -> float:
        """Make batches of those that have waited long enough; in how many seconds the next one is due."""
        everything, self._hurried = everything or self._hurried, False
        now = time.monotonic()
        with self._lock:
            due = [name for name, group in self._groups.items() if everything or group.due <= now]
            self._ready += [self._groups.pop(name).deliveries for name in due]
            return min((group.due - now for group in self._groups.values()), default=IDLE)

    def _start_ready(self) -> None:
        while self._ready and not self.abandoned:
            batch = self._ready[0]
            try:
                self._start(batch)
            finally:
                if not batch:
                    self._ready.pop(0)
