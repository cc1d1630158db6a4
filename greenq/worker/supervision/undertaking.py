"""Starts the process that records the end of a task which its own process can't end any more."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import Any

from greenq.worker.page import Block
from greenq.worker.supervision.handover import hand_over, interpreter
from greenq.worker.supervision.spawning import OURS

__all__ = ["Undertaking"]

PATIENCE = 20.0
"""Seconds that it may take, from the end of the limit on: to load the application, if it has not yet, and to
reach broker and result store. Usually it is a tenth of a second, but a busy machine may make it many."""


class Undertaking:
    """One such process. It is started somewhat early, as it has to load the application, and waits then.

    Parameters:
        spec: the command's, with the worker's ``index`` and ``holder``, the name under which it leases
            messages.
        block: the task.
    """

    def __init__(self, spec: dict[str, Any], block: Block) -> None:
        self.block = block
        self._late_at: float | None = None
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        with theirs, contextlib.suppress(OSError):
            theirs.set_inheritable(True)
            self._start(
                {**spec, "id": block.id, "name": block.name, "limit": block.limit, "line": theirs.fileno()}
            )

    def _start(self, spec: dict[str, Any]) -> None:
        fd = hand_over(spec)
        try:
            os.posix_spawn(
                sys.executable,
                interpreter("greenq.worker.undertaker", fd),
                {name: value for name, value in os.environ.items() if name not in OURS},
                setpgroup=0,
                setsigmask=(),
            )
        finally:
            os.close(fd)

    @property
    def begun(self) -> bool:
        """Whether it was told to do it."""
        return self._late_at is not None

    def begin(self) -> None:
        """Let it record the task's end now."""
        self._late_at = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):
            self._line.send(b"\n")

    def recorded(self) -> bool | None:
        """Whether the task's end is recorded; None while that is not known."""
        try:
            return self._line.recv(16) != b""
        except BlockingIOError:
            return None if self._late_at is None or time.monotonic() < self._late_at else False
        except OSError:
            return False

    def close(self) -> None:
        """Let go of it: it ends by itself, and the supervisor's loop waits for all that it had."""
        self._line.close()
