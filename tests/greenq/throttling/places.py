"""Applications and workers of this process for the tests of limits, and a count of who runs at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from greenq import GreenQ, Worker
from pools import create

__all__ = ["Crowd", "make", "working"]


def make(url: str, **worker: Any) -> GreenQ:
    """An application with everything in one place."""
    return GreenQ("shop", broker=url, results=url, worker={"lease": "2s", **worker})


@contextmanager
def working(app: GreenQ, capacity: int = 8) -> Iterator[Worker]:
    """A worker of the application in this process."""
    with create("threads", capacity=capacity) as pool:
        worker = Worker(app, pool=pool)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop(timeout=10)


class Crowd:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside: dict[Any, int] = {}
        self.most: dict[Any, int] = {}
        self.starts: list[float] = []

    def enter(self, key: Any) -> None:
        with self.lock:
            self.starts.append(time.monotonic())
            self.inside[key] = self.inside.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self.inside[key])

    def leave(self, key: Any) -> None:
        with self.lock:
            self.inside[key] -= 1
