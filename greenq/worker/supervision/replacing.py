"""Replaces workers that live: one at a time, and none before its successor has come up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from greenq.worker.supervision.child import Child
from greenq.worker.supervision.journal import say
from greenq.worker.supervision.place import Place

__all__ = ["COME_UP_WITHIN", "Replacing"]

COME_UP_WITHIN = 300.0
"""Seconds that a successor gets to come up; meanwhile its predecessor works."""


class Replacing:
    """Takes turns with all places when SIGHUP asks for it, and with those whose worker wants to be recycled.

    As there is one turn at a time, several processes never recycle at once, and no more than one process
    more than configured needs memory.

    Parameters:
        places: all of them.
        start: starts a worker process for a place; None, with the reason said, if it can't.
    """

    def __init__(self, places: Sequence[Place], start: Callable[[Place], Child | None]) -> None:
        self._places = places
        self._start = start
        self._asked: list[Place] = []
        self._now: Place | None = None
        self._former: Child | None = None
        self._by_signal = False

    @property
    def asked(self) -> bool:
        """Whether what SIGHUP asked for is still to be done."""
        return bool(self._asked) or (self._now is not None and self._by_signal)

    def ask(self) -> None:
        """Replace all; asked again meanwhile, those that were replaced have their turn once more."""
        self._asked = list(self._places)

    def due(self) -> list[float]:
        """When a next turn may begin, on the clock of `time.monotonic()`."""
        if self._now is not None:
            return []
        return [place.recycle_at for place in self._places if place.child and place.child.recycle]

    def step(self) -> None:
        """Begin the next turn if none is under way."""
        while self._now is None:
            place = self._next()
            if place is None:
                return
            self._begin(place)

    def _next(self) -> Place | None:
        while self._asked:
            place = self._asked.pop(0)
            # One that has died is being replaced already.
            if place.child is not None:
                self._by_signal = True
                return place
        self._by_signal = False
        now = time.monotonic()
        wanting = [
            (place.child.recycle_since, place.index)
            for place in self._places
            if place.child and place.child.recycle and place.recycle_at <= now
        ]
        # Who has waited longest: the first places may want to again before the last had their turn.
        return self._places[min(wanting)[1]] if wanting else None

    def _begin(self, place: Place) -> None:
        if not self._by_signal and place.child is not None:
            say(f"worker {place.index} (process {place.child.pid}) is recycled: {place.child.recycle}")
        successor = self._start(place)
        if successor is None:
            self._now = place
            self.failed(place, "could not be started")
            return
        successor.kill_at = time.monotonic() + COME_UP_WITHIN
        place.successor = successor
        self._now = place

    def came_up(self, place: Place) -> None:
        """The successor in `place` works: its predecessor may go."""
        place.failures = 0
        former = place.hand_on()
        if former is None:
            self._now = None
            return
        place.leaving.append(former)
        self._former = former
        former.stop()

    def failed(self, place: Place, how: str) -> None:
        """The successor in `place` did not come up: who works there stays."""
        place.successor = None
        self._now = None
        child = place.child
        who = f"worker {place.index} (process {child.pid})" if child else f"worker {place.index}"
        if self._by_signal:
            self._asked = []
            say(f"the successor of {who} {how}: it stays, and no other worker is replaced")
        else:
            pause = max(1.0, place.put_off())
            place.recycle_at = time.monotonic() + pause
            say(f"the successor of {who} {how}: it stays; another one is started in {pause:g} s")

    def ended(self, place: Place, child: Child) -> None:
        """Somebody who worked in `place` has ended, sooner than its successor came up or as it should."""
        if child is self._former or (self._now is place and place.child is child):
            self._former = None
            self._now = None
