"""What was fetched and waits for a slot: no more than is run in a moment, and not for long."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from greenq.message import Delivery
from greenq.worker.runs import Run

__all__ = ["Ahead"]

MOMENT = 0.02
"""Seconds of work that may wait here, going by what was run lately."""
SHORT = 0.01
"""Seconds that a task may take at most, on average, for others to wait behind it: where tasks take longer, a
round trip for each is nothing, and another worker may be idle."""
GROWTH, FIRST = 2, 8
"""How much more may wait than before, as what was run lately says little about what comes."""
MOST = 250
LONGEST = 0.5
"""Seconds after which what waits is given back: what runs takes longer than what ran before."""


class Ahead:
    """Holds deliveries until a slot is free.

    A pool of thousands of green threads fetches thousands at once; one with few slots pays a round trip
    for each few tasks. While its tasks are short it fetches a moment's work with them; as soon as one takes
    long, the others go back to their queue.

    Parameters:
        prefetch: how many may wait here whatever runs; None for as many as is best.
        put_back: returns one to its queue; any thread may call it.
    """

    def __init__(self, prefetch: int | None, put_back: Callable[[Delivery], None]) -> None:
        self._prefetch = prefetch
        self._put_back = put_back
        self._runs: deque[Run] = deque()
        self._since = 0.0
        """When the last were fetched."""
        self._taken = 0
        """How many have been started since."""
        self._grown = 0
        self._waits = threading.Event()
        self._stopping = threading.Event()

    def __len__(self) -> int:
        return len(self._runs)

    def deliveries(self) -> list[Delivery]:
        """What waits here."""
        return [run.delivery for run in self._runs.copy()]

    def room(self, free: int) -> int:
        """How many may be fetched now.

        Parameters:
            free: slots.
        """
        if self._runs and free:
            return 0  # those first
        if self._prefetch is not None:
            return free + self._prefetch - len(self._runs)
        if not free:
            return 0
        self._grown = min(self._a_moments_work(free), GROWTH * self._grown + FIRST, MOST)
        return free + self._grown

    def _a_moments_work(self, free: int) -> int:
        taken, self._taken = self._taken, 0
        if not taken:
            return 0
        rate = taken / max(time.monotonic() - self._since, 1e-6)
        return int(rate * MOMENT) if rate * SHORT > free else 0

    def add(self, runs: Iterable[Run]) -> None:
        """Let these wait for slots."""
        self._runs.extend(runs)
        self._since = time.monotonic()

    def take(self, free: int) -> list[Run]:
        """Those that start now."""
        runs: list[Run] = []
        waiting = self._runs
        try:
            for _ in range(free):
                runs.append(waiting.popleft())
        except IndexError:  # none is left; another thread may have given some back
            pass
        self._taken += len(runs)
        if waiting and self._prefetch is None and not self._waits.is_set():
            self._waits.set()
        return runs

    def put_first(self, runs: Iterable[Run]) -> None:
        """Let these wait before all others: they could not be started."""
        self._runs.extendleft(runs)

    def give_back(self) -> None:
        """Return what waits to its queues."""
        while self._runs:
            try:
                run = self._runs.pop()
            except IndexError:
                return
            self._put_back(run.delivery)

    def run(self) -> None:
        """Give back what waits too long, until `stop`: a service, as the consumer may be running a task."""
        while not self._stopping.is_set():
            if not self._waits.wait(5.0):
                continue
            self._stopping.wait(max(0.0, self._since + LONGEST - time.monotonic()))
            if self._runs and time.monotonic() - self._since >= LONGEST:
                self.give_back()
            if not self._runs:
                self._waits.clear()
                # One that came between the look and this has not set it again.
                if self._runs:
                    self._waits.set()

    def stop(self) -> None:
        """Let `run` end."""
        self._stopping.set()
        self._waits.set()
