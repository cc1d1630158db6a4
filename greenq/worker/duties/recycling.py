"""Asks for a successor when this process has done its share, is old enough, or has grown too large."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from pools.memory import resident

__all__ = ["Recycling"]

log = logging.getLogger("greenq.recycling")

LOOK_EVERY = 1.0
"""Seconds between looks at the age and the memory."""
MIB = 1024 * 1024


class Recycling:
    """Looks at the limits that are set, and announces once that one of them is reached.

    It ends nothing: the process goes on working until whoever hears the announcement has replaced it.

    Parameters:
        max_tasks: tasks committed; None for no limit, as with the others.
        max_age: seconds since the start. Up to a tenth is taken off at random, so that a fleet which was
            started at once does not recycle at once.
        max_memory: bytes of resident memory of this process, and of each process that its pool has.
        announce: told why.
        trim: has the pool replace those of its processes that have more than so many bytes.
    """

    def __init__(
        self,
        max_tasks: int | None,
        max_age: float | None,
        max_memory: int | None,
        announce: Callable[[str], None],
        trim: Callable[[int], None],
    ) -> None:
        self._max_tasks = max_tasks
        self._max_age = max_age
        self._max_memory = max_memory
        self._announce = announce
        self._trim = trim
        self._until = time.monotonic() + (max_age or 0.0) * random.uniform(0.9, 1.0)
        self._announced = False
        self._stopping = threading.Event()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to look at again and again: no limit on age or memory."""
        return self._max_age is None and self._max_memory is None

    def run(self) -> None:
        """Look until `stop`, or until a limit is reached: the duty's service."""
        if self._max_memory is not None and resident() > self._max_memory:
            log.warning(
                "worker.max_memory is %d MiB, but this process needs %d MiB before it has run anything: "
                "it will not be replaced for its memory",
                self._max_memory // MIB, resident() // MIB,
            )  # fmt: skip
            self._max_memory = None
        while not self.idle and not self._announced and not self._stopping.wait(LOOK_EVERY):
            if self._max_memory is not None:
                self._trim(self._max_memory)
            if self._max_age is not None and time.monotonic() >= self._until:
                self._say("it is older than worker.max_age allows")
            elif self._max_memory is not None and (size := resident()) > self._max_memory:
                self._say(f"it has {size // MIB} MiB, and worker.max_memory is {self._max_memory // MIB} MiB")

    def count(self, committed: int) -> None:
        """Hear how many tasks this process has committed since its start."""
        if self._max_tasks is not None and committed >= self._max_tasks:
            self._say(f"it has done {committed} tasks, and worker.max_tasks is {self._max_tasks}")

    def _say(self, why: str) -> None:
        if not self._announced:
            self._announced = True
            self._announce(why)

    def stop(self) -> None:
        """End the duty."""
        self._stopping.set()
