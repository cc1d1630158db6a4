"""One worker process as the supervisor knows it."""

from __future__ import annotations

import contextlib
import os

__all__ = ["Child"]


class Child:
    """One worker process and its history."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid = 0
        self.process = ""
        self.started = 0.0
        self.failures = 0
        self.news = -1
        """A pipe that holds `worker.shutdown_timeout` once the process has come up and knows it."""
        self.patience = 0.0
        self.came_up = False
        """Whether it, or a predecessor, has come up: then a failure is no mistake of the set-up."""
        self.start_at: float | None = 0.0
        self.dead: list[str] = []
        """Names of its predecessors whose leases are still to be given back."""
        self.kill_at: float | None = None
        """When it is killed, if it was told to stop and has not ended by then."""

    def hear(self) -> None:
        """Take in what the process has written, if it has."""
        with contextlib.suppress(BlockingIOError):
            if told := os.read(self.news, 64):
                self.came_up = True
                self.patience = float(told)
