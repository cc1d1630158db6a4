"""What was fetched and waits for a slot: no more than is run in a moment, and not for long."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from greenq.message import Delivery
from greenq.worker.runs import Run
from pools.base import Call, Pool

__all__ = ["Ahead"]

MOMENT = 0.005
"""Seconds of work that may wait here, going by what was run lately."""
SHORT = 0.002
"""Seconds that a task may take at most, on average, for others to wait behind it: where tasks take longer, a
round trip for each is little, another worker may be idle, and what is held at a death is tried apart."""
GROWTH, FIRST = 2, 8
"""How much more may wait than before, as what was run lately says little about what comes."""
MOST = 100
PER_SLOT = 16
"""How many of them may wait in the pool, for each slot: enough that none is idle until the consumer wakes."""
LONGEST = 0.5
"""Seconds after which what waits is given back: what runs takes longer than what ran before."""
REST = 5.0
"""Seconds between looks while nothing waits."""


class Ahead:
    """Holds deliveries until a slot is free.

    A pool of thousands of green threads fetches thousands at once; one with few slots pays a round trip
    for each few tasks. While its tasks are short it fetches a moment's work with them; as soon as one takes
    long, the others go back to their queue.

    Parameters:
        prefetch: how many may wait here whatever runs; None for as many as is best.
        put_back: returns one to its queue; any thread may call it.
        done: what the consumer's calls report to; others in the pool are not ours to take back.

    Attributes:
        runs: those that wait; what was fetched is added to them, without a call for each.
        lines_up: whether some may wait in the pool; False where what is spawned cannot be given back.
    """

    def __init__(
        self,
        pool: Pool,
        prefetch: int | None,
        put_back: Callable[[Delivery], None],
        done: Callable[[Call], None],
    ) -> None:
        self._pool = pool
        self._prefetch = prefetch
        self._put_back = put_back
        self._done = done
        self.lines_up = True
        self.runs: deque[Run] = deque()
        self._free = 0
        self._since = 0.0
        """When the last were fetched."""
        self._busy = 0
        """How many calls the pool had then."""
        self._taken = 0
        """How many have been started since."""
        self._grown = 0
        self._fetched = False
        """Whether they were asked for since the last was taken."""
        self._lined_up = 0
        self._waits = threading.Event()
        self._stopping = threading.Event()

    def deliveries(self) -> list[Delivery]:
        """What waits here."""
        return [run.delivery for run in self.runs.copy()]

    def room(self, free: int) -> int:
        """How many may be fetched now.

        Parameters:
            free: slots.
        """
        self._free = free
        if self.runs and free:
            return 0  # those first
        if self._prefetch is not None:
            return free + self._prefetch - len(self.runs)
        if not free:
            return 0
        self._grown = min(self._a_moments_work(), GROWTH * self._grown + FIRST, MOST)
        lined_up = min(self._grown, PER_SLOT * self._pool.capacity) if self.lines_up else 0
        if lined_up != self._lined_up:
            self._pool.line_up(lined_up)
            self._lined_up = lined_up
            self._free = self._pool.wait_free(0)
        self._fetched = True
        return self._free + self._grown if self._free else 0

    def _a_moments_work(self) -> int:
        busy = self._pool.busy
        ended, self._taken = self._taken + self._busy - busy, 0
        rate = ended / max(time.monotonic() - self._since, 1e-6)
        self._since, self._busy = time.monotonic(), busy
        return int(rate * MOMENT) if rate * SHORT > self._pool.capacity else 0

    def take(self) -> list[Run]:
        """Those that start now, in the slots that `room` was told of."""
        if self._fetched:
            self._fetched = False
            self._since, self._busy = time.monotonic(), self._pool.busy
        runs: list[Run] = []
        waiting = self.runs
        try:
            for _ in range(self._free):
                runs.append(waiting.popleft())
        except IndexError:  # none is left; another thread may have given some back
            pass
        self._taken += len(runs)
        if (waiting or self._lined_up) and self._prefetch is None and not self._waits.is_set():
            self._waits.set()
        return runs

    def put_first(self, runs: Iterable[Run]) -> None:
        """Let these wait before all others: they could not be started."""
        self.runs.extendleft(runs)

    def give_back(self) -> None:
        """Return what waits to its queues."""
        while self.runs:
            try:
                run = self.runs.pop()
            except IndexError:
                return
            self._put_back(run.delivery)
        # Also where none may line up any more: those that did still wait behind what runs.
        for call in self._pool.calls():
            if not call.started and call.done == self._done and self._pool.withdraw(call):
                self._put_back(call.tag.delivery)

    def run(self) -> None:
        """Give back what waits too long, until `stop`: a service, as the consumer may be running a task."""
        while not self._stopping.is_set():
            if not self._waits.wait(REST):
                continue
            self._stopping.wait(max(0.0, self._since + LONGEST - time.monotonic()))
            if time.monotonic() - self._since < LONGEST:
                continue
            self._waits.clear()
            self.give_back()

    def stop(self) -> None:
        """Let `run` end, and the pool be as it was."""
        if self._lined_up:
            self._pool.line_up(0)
        self._stopping.set()
        self._waits.set()
