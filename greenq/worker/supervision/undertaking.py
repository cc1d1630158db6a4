"""Starts the process that records the end of a task which its own process can't end any more."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any

from greenq.worker.page import Block
from greenq.worker.supervision.handover import hand_over, interpreter
from greenq.worker.supervision.spawning import OURS

__all__ = ["Undertaking"]

PATIENCE = 5.0
"""Seconds after which it ends itself: it has to load the application, and to reach broker and results."""
GRACE = 0.5


class Undertaking:
    """One such process.

    Parameters:
        spec: the command's, with the worker's ``index`` and ``holder``, the name under which it leases
            messages.
        block: the task.
    """

    def __init__(self, spec: dict[str, Any], block: Block) -> None:
        self.block = block
        self._late_at = time.monotonic() + PATIENCE + GRACE
        self._news = -1
        with contextlib.suppress(OSError):
            self._start({
                **spec, "id": block.id, "name": block.name, "limit": block.limit, "patience": PATIENCE,
            })  # fmt: skip

    def _start(self, spec: dict[str, Any]) -> None:
        self._news, writer = os.pipe()
        os.set_blocking(self._news, False)
        os.set_inheritable(writer, True)
        fd = -1
        try:
            fd = hand_over({**spec, "news": writer})
            os.posix_spawn(
                sys.executable, interpreter("greenq.worker.undertaker", fd),
                {name: value for name, value in os.environ.items() if name not in OURS},
                setpgroup=0, setsigmask=(),
            )  # fmt: skip
        finally:
            os.close(writer)
            if fd >= 0:
                os.close(fd)

    def recorded(self, now: float) -> bool | None:
        """Whether the task's end is recorded; None while that is not known."""
        if self._news < 0:
            return False
        with contextlib.suppress(BlockingIOError):
            return os.read(self._news, 16) != b""
        return None if now < self._late_at else False

    def close(self) -> None:
        """Listen no more. It ends by itself, and the supervisor's loop waits for all that it had."""
        if self._news >= 0:
            os.close(self._news)
            self._news = -1
