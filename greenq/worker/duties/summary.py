"""Says every few seconds how much was done, instead of a line for each of thousands of tasks."""

from __future__ import annotations

import logging
import threading
import time

from greenq.worker.consumer import Consumer
from greenq.worker.settler import Settler

__all__ = ["Summary"]

log = logging.getLogger("greenq.summary")

EVERY = 10.0
"""Seconds between lines while there is something to say."""


class Summary:
    """Logs one line for the time since the last one, and none when nothing happened."""

    def __init__(self, consumer: Consumer, settler: Settler) -> None:
        self._consumer = consumer
        self._settler = settler
        self._stopping = threading.Event()
        self._seen = 0
        self._since = time.monotonic()

    def run(self) -> None:
        """Look every few seconds until `stop`: the duty's service."""
        while not self._stopping.wait(EVERY):
            self._say()
        self._say()

    def stop(self) -> None:
        """Say the last line and end."""
        self._stopping.set()

    def _say(self) -> None:
        now = time.monotonic()
        done = self._settler.committed - self._seen
        if done:
            log.info(
                "%d tasks done in %.1f s, %d running, %d waiting to be committed",
                done, now - self._since, len(self._consumer.running()), self._settler.waiting,
            )  # fmt: skip
        self._seen += done
        self._since = now
