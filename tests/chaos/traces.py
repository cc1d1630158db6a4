"""What tasks tell of themselves while a broker fails, outside of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["Traces"]


class Traces:
    """What tasks tell of themselves, read as it comes: through a pipe, which no full disk keeps them from.

    Parameters:
        path: where the pipe is made.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open for both, so that it has no end while no worker has it open.
        self._pipe = os.fdopen(os.open(path, os.O_RDWR), "rb")
        self.started: dict[int, int] = {}
        self.ended: set[int] = set()
        self.green: dict[int, int] = {}
        self._after = float("inf")
        self.first_start: float | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for line in self._pipe:
            what, number, *rest = line.decode().split()
            if what == "start":
                self.started[int(number)] = self.started.get(int(number), 0) + 1
                if self.first_start is None and float(rest[0]) > self._after:
                    self.first_start = float(rest[0])
            elif what == "end":
                self.ended.add(int(number))
            else:
                self.green[int(number)] = int(rest[0])

    def look_from(self, moment: float) -> None:
        """Let `first_start` be when the first task starts after that moment."""
        self._after, self.first_start = moment, None

    def twice(self) -> int:
        """How many tasks ran more than once."""
        return sum(count > 1 for count in list(self.started.values()))
