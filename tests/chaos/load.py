"""A producer that sends all the time while a broker fails, and knows what was confirmed."""

from __future__ import annotations

import random
import threading
import time

from greenq import GreenQ
from greenq.errors import GreenqError
from tests.chaos.stages import Stage

__all__ = ["SENT_WITHIN", "Load"]

SENT_WITHIN = 5.0
"""Seconds that sending may take; an error must come then."""


class Load:
    """Sends tasks all the time, and keeps in mind which were confirmed.

    Parameters:
        rate: tasks in a second.
        longest: seconds that one takes at most.
    """

    def __init__(self, stage: Stage, rate: int, longest: float) -> None:
        self.app = GreenQ(
            "load", broker={"url": stage.url, "publish_timeout": SENT_WITHIN}, results={"url": stage.results}
        )
        self.confirmed: set[int] = set()
        self.refused = 0
        self.longest_send = 0.0
        self.errors: dict[str, int] = {}
        self._rate = rate
        self._longest = longest
        self._number = 0
        self._goes_on = threading.Event()
        self._rests = threading.Event()
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def on(self) -> None:
        """Send from now on."""
        self._rests.clear()
        self._goes_on.set()

    def off(self) -> None:
        """Send no more, and wait for what is under way."""
        self._goes_on.clear()
        assert self._rests.wait(SENT_WITHIN + 60.0), "a publish hangs"

    def close(self) -> None:
        """End it."""
        self._ends = True
        self._goes_on.set()
        self._thread.join(60.0)
        self.app.close()

    def _run(self) -> None:
        while not self._ends:
            if not self._goes_on.is_set():
                self._rests.set()
                self._goes_on.wait(0.1)
                continue
            began = time.monotonic()
            self._send(max(1, self._rate // 20))
            time.sleep(max(0.0, began + 0.05 - time.monotonic()))

    def _send(self, count: int) -> None:
        numbers = list(range(self._number, self._number + count))
        self._number += count
        seconds = [random.uniform(0.0, self._longest) for _ in numbers]
        messages = [
            self.app.composer.compose("tests.chaos.fault_tasks.work", (number, pause), {})
            for number, pause in zip(numbers, seconds, strict=True)
        ]
        began = time.monotonic()
        try:
            errors: list[GreenqError | None] = self.app.broker.publish(messages, SENT_WITHIN)
        except GreenqError as error:
            errors = [error] * count
        self.longest_send = max(self.longest_send, time.monotonic() - began)
        for number, error in zip(numbers, errors, strict=True):
            if error is None:
                self.confirmed.add(number)
            else:
                self.refused += 1
                kind = f"{type(error).__name__}: {str(error)[:160]}"
                self.errors[kind] = self.errors.get(kind, 0) + 1
