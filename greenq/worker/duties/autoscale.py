"""Chooses how many tasks run at once: more while messages wait and every slot is taken, fewer when idle."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from greenq.brokers.base import Broker
from greenq.errors import GreenqError
from greenq.worker.consumer import Consumer
from pools.base import Pool

__all__ = ["Autoscale"]

log = logging.getLogger("greenq.autoscale")

EVERY = 1.0
"""Seconds between looks."""
CALM = 30.0
"""Seconds that a smaller pool must have been enough before it becomes smaller."""


class Autoscale:
    """Grows and shrinks the pool between two bounds.

    It grows at once, by as much as waits and at most to double size; it shrinks, to what was needed at the
    most, when that was so for half a minute. What runs is never ended.

    Parameters:
        most, least: the bounds of the pool's size.
        told: called with each new size.
    """

    def __init__(
        self, pool: Pool, broker: Broker, consumer: Consumer, most: int, least: int,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._broker = broker
        self._consumer = consumer
        self._told = told
        self.most = max(most, 1)
        self.least = max(1, min(least, self.most))
        self._stopping = threading.Event()
        self._needed: list[tuple[float, int]] = []
        """How many slots were needed lately, each with when that was."""

    def run(self) -> None:
        """Look until `stop`: the duty's service."""
        self._resize(self.least)
        while not self._stopping.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Look once, and change the size if need be."""
        now, size, busy = self._pool.now(), self._pool.capacity, self._pool.busy
        self._needed = [one for one in self._needed if now - one[0] < CALM]
        waiting = self._waiting() if busy >= size else 0
        self._needed.append((now, busy + waiting))
        if waiting:
            self._resize(min(self.most, size + max(1, min(waiting, size))))
        elif now - self._needed[0][0] >= CALM - 2 * EVERY:
            self._resize(max(self.least, min(size, max(count for _, count in self._needed))))

    def _waiting(self) -> int:
        """Messages that could start if there were room."""
        here = len(self._consumer.reserved())
        try:
            depths = self._broker.depth()
        except GreenqError:
            return here
        return here + sum(depths[name].ready for name in self._consumer.queues if name in depths)

    def _resize(self, size: int) -> None:
        if size != self._pool.capacity:
            log.info("%d tasks may run at once now, %d until now", size, self._pool.capacity)
            self._pool.resize(size)
            self._told(size)

    def update(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change the bounds; both, as they are then.

        Raises:
            ValueError: they make no sense.
        """
        most = self.most if most is None else most
        least = min(self.least, most) if least is None else least
        if isinstance(most, bool) or isinstance(least, bool) or not 1 <= least <= most:
            raise ValueError(f"max must be at least min, and min at least 1, not {most!r} and {least!r}")
        self.most, self.least = most, least
        self._resize(max(least, min(most, self._pool.capacity)))
        return most, least

    def stop(self) -> None:
        """End the duty."""
        self._stopping.set()
