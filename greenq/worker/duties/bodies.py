"""Sends the bodies of chords whose members have all ended, also of those that another process left unsent.

Counting and sending are two steps. Who counts the last member claims the chord for `ResultStore.claim`
seconds, in the same step, with all that is needed to send the body. If it dies in between, or its broker is
away for longer, the claim runs out and whoever looks next sends it. The body's id is fixed: sent twice it is
one task.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque

from greenq.chords import DueChord
from greenq.errors import GreenqError
from greenq.results.base import ResultStore
from greenq.worker.chordends import ChordEnds
from pools import native

__all__ = ["Bodies"]

log = logging.getLogger("greenq.canvas")

LOOKS = 2
"""How often it is looked for what others left, in the time that a claim lasts."""
RETRY_FIRST, RETRY_MOST = 0.05, 2.0
"""Seconds between attempts while broker or store are away: doubled each time, up to the most."""


class Bodies:
    """One service for all chords of the process.

    Parameters:
        ends: sends one body.
    """

    def __init__(self, store: ResultStore, ends: ChordEnds) -> None:
        self._store = store
        self._ends = ends
        self._inbox: deque[DueChord] = deque()
        self._wake = native.Signal()
        self._stopping = False
        self._sending = False

    @property
    def busy(self) -> bool:
        """Whether a body is still to be sent."""
        return self._sending or bool(self._inbox)

    def add(self, chord: DueChord) -> None:
        """Hand over a chord that is complete. Any thread may call it."""
        self._inbox.append(chord)
        self._wake.set()

    def stop(self) -> None:
        """Send what is handed over already, and end."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Send bodies until `stop`: the duty's service."""
        look = time.monotonic() + self._pause()
        while True:
            self._wake = native.Signal()
            while self._inbox:
                self._sending = True
                self._send(self._inbox.popleft())
            self._sending = False
            if self._stopping:
                return
            if time.monotonic() >= look:
                self._look()
                look = time.monotonic() + self._pause()
            if not self._inbox and not self._stopping:
                self._wake.wait(max(0.0, look - time.monotonic()))

    def _pause(self) -> float:
        # Spread out, so that the workers of a fleet do not all look at once.
        return self._store.claim / LOOKS * random.uniform(0.8, 1.2)

    def _look(self) -> None:
        try:
            found = self._store.overdue_chords(self._ends.timeout)
        except GreenqError as error:
            log.warning("the look for chords whose body was not sent is put off: %s", error)
            return
        if found:
            log.warning("%d chords were complete and their bodies were not sent; they are now", len(found))
        self._inbox.extend(found)

    def _send(self, chord: DueChord) -> None:
        """Send one body, again while broker or store are away, as long as the claim is ours."""
        pause, until = RETRY_FIRST, time.monotonic() + self._store.claim
        while True:
            try:
                self._ends.end(chord)
                return
            except GreenqError as error:
                problem: Exception = error
            except Exception as error:
                log.exception("the body of chord %a could not be sent", chord.group)
                problem = error
            if self._stopping or time.monotonic() + pause > until:
                log.error("the body of chord %a waits until its claim ends: %s", chord.group, problem)
                return
            log.warning("the body of chord %a waits, next attempt in %.2g s: %s", chord.group, pause, problem)
            native.Signal().wait(pause)
            pause = min(pause * 2, RETRY_MOST)
