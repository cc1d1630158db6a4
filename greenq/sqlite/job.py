"""One call to the embedded database, on its way through the thread that owns the connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from greenq.sqlite.session import Session
from pools.bell import Bell

__all__ = ["AGAIN", "Job", "Stage"]

AGAIN: Any = object()
"""What a job's function returns when there is nothing yet and it wants to be asked again."""


class Stage(Enum):
    """How far a job has come."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    DROPPED = "dropped"
    """Nobody waits for it any more."""


class Job:
    """What is to be done, and for whom.

    Parameters:
        fn: called in the owning thread, inside a write transaction if `write`; called again after a
            rollback, so it may change nothing but the database.
        timeout: seconds after which it is not begun any more.
        patience: seconds for which AGAIN is asked again.
        probe: a cheap look whether `fn` would find anything; without a transaction.
        undo: takes the value back when the caller is gone by the time it is there.
    """

    __slots__ = ("bell", "deadline", "error", "fn", "patience", "probe", "stage", "undo", "value", "write")

    def __init__(
        self,
        fn: Callable[[Session], Any],
        timeout: float,
        write: bool,
        patience: float = 0.0,
        probe: Callable[[Session], bool] | None = None,
        undo: Callable[[Session, Any], Any] | None = None,
    ) -> None:
        now = time.monotonic()
        self.fn = fn
        self.write = write
        self.patience = now + patience
        self.deadline = self.patience + timeout
        self.probe = probe
        self.undo = undo
        self.stage = Stage.WAITING
        self.bell: Bell | None = None
        """Rung once, at the end; for whoever waits for that."""
        self.value: Any = None
        self.error: Exception | None = None
