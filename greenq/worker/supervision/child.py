"""One worker process as the supervisor knows it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from typing import Any

from greenq.worker.page import Page

__all__ = ["GRACE", "Child", "Gone"]

GRACE = 5.0
"""Seconds beyond `worker.shutdown_timeout` before a worker that does not end is killed."""
LONGEST_LINE = 64 * 1024
REMEMBERED = 20
"""Of how many dead it is remembered that it was told of them."""

Gone = tuple[str, bool]
"""The name of a process that has ended, and whether its end is charged to what it ran."""


class Child:
    """A worker process, from its start until it was waited for.

    Parameters:
        pid: its process id.
        process: the name under which it leases messages.
        line: our end of the line between us, which neither side ever waits on for long. It says, in JSON,
            one object a line: ``up`` (its settings), ``recycle`` (why), ``burst``. It is told: ``release``,
            ``release_uncharged`` (names of the dead).
        page: the memory that it shows us.
        shutdown_timeout: seconds, until it says otherwise.
        gone: the dead whose messages it gives back, at its start or as it was told last.
    """

    def __init__(
        self,
        pid: int,
        process: str,
        line: socket.socket,
        page: Page,
        shutdown_timeout: float = 30.0,
        gone: list[Gone] | None = None,
    ) -> None:
        self.pid = pid
        self.process = process
        self.line = line
        self.page = page
        self.shutdown_timeout = shutdown_timeout
        self.gone = gone or []
        self.started = time.monotonic()
        self.came_up = False
        self.patience: float | None = None
        """`broker.patience`: seconds, known once it came up."""
        self.recycle = ""
        """Why it wants a successor, if it does."""
        self.recycle_since = 0.0
        self.finished = False
        """Whether it ends because nothing is left to do."""
        self.stopping = False
        self.kill_at: float | None = None
        """When it is killed, if it has not ended, or come up, by then."""
        self.killed_at: float | None = None
        """When we sent it SIGKILL: its death is then no fault of what it ran."""
        self.late = False
        """Whether that was because it had not ended, or come up, in time."""
        self._heard = b""

    def hear(self) -> bool:
        """Take in what it has said; False once it can say nothing more."""
        while True:
            try:
                data = self.line.recv(4096)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            *lines, self._heard = (self._heard + data)[-LONGEST_LINE:].split(b"\n")
            for line in lines:
                # A task can write into any file of its process; that must not end all of them.
                with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                    self._take_in(json.loads(line))

    def _take_in(self, news: dict[str, Any]) -> None:
        if "up" in news:
            self.shutdown_timeout = float(news["up"]["shutdown_timeout"])
            self.patience = news["up"]["patience"]
            self.came_up = True
            if not self.stopping:
                self.kill_at = None
            self.gone = []
        if "recycle" in news:
            self.recycle = news["recycle"]
            self.recycle_since = time.monotonic()
        self.finished = self.finished or "burst" in news

    def give_back(self, gone: list[Gone]) -> bool:
        """Let it return the messages of the dead; False if it can't be told."""
        order = {
            "release": [process for process, charge in gone if charge],
            "release_uncharged": [process for process, charge in gone if not charge],
        }
        data = json.dumps(order).encode() + b"\n"
        try:
            told = self.line.send(data) == len(data)
        except OSError:
            return False
        if told:
            # It may die before it has done so: then it is somebody else's turn, and twice does no harm.
            self.gone = [*self.gone, *gone][-REMEMBERED:]
        return told

    def stop(self, at_once: bool = False) -> None:
        """Tell it to stop, and remember when it is late; said again, the earliest end counts."""
        self.hear()
        self.stopping = True
        self._signal(signal.SIGTERM)
        kill_at = time.monotonic() + (0.0 if at_once else self.shutdown_timeout) + GRACE
        self.kill_at = kill_at if self.kill_at is None else min(self.kill_at, kill_at)

    def kill(self) -> None:
        """End it without its help. What it held is not charged with that."""
        self.kill_at = None
        self.killed_at = time.monotonic()
        self._signal(signal.SIGKILL)

    def _signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def close(self) -> None:
        """Let go of what we share."""
        self.line.close()
        self.page.close()
