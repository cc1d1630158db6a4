"""Looks which queues are paused, and lets the consumer leave them alone."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence

from greenq.errors import GreenqError
from greenq.throttling.desk import Queues

__all__ = ["Pausing"]

log = logging.getLogger("greenq.pausing")

EVERY = 2.0
"""Seconds between looks: one small question."""


class Pausing:
    """Asks every two seconds; every worker process does.

    Parameters:
        paused: tells which are paused.
        take_from: told which are left whenever that changes.
    """

    def __init__(self, paused: Queues, take_from: Callable[[Sequence[str]], None]) -> None:
        self._paused = paused
        self._take_from = take_from
        self._known: frozenset[str] = frozenset()
        self._away = False
        self._stopping = threading.Event()
        self.queues: Sequence[str] = ()
        """Those that this worker takes from."""

    def run(self) -> None:
        """Look until `stop`: the duty's service."""
        while not self._stopping.wait(EVERY * random.uniform(0.8, 1.0)):
            self.look()

    def look(self) -> None:
        """Look once; while nobody can be asked, what was known last holds."""
        try:
            paused = self._paused.paused().intersection(self.queues)
        except GreenqError as error:
            if not self._away:
                log.warning("whether queues are paused is not known for now: %s", error)
            self._away = True
            return
        self._away = False
        if paused != self._known:
            for name in sorted(paused - self._known):
                log.info("queue %s is paused", name)
            for name in sorted(self._known - paused):
                log.info("queue %s is resumed", name)
            self._known = paused
            self.choose(self.queues)

    def choose(self, queues: Sequence[str]) -> None:
        """Take from these queues from now on, but for those that are paused."""
        self.queues = queues
        self._take_from([name for name in queues if name not in self._known])

    def stop(self) -> None:
        """End the duty."""
        self._stopping.set()
