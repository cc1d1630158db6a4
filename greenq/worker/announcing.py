"""What is told by signals of a worker's life.

Source: celery/apps/worker.py, celery/worker/worker.py and celery/concurrency: when each is sent, with what.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

from greenq import signals

__all__ = ["Announcer", "process_begins", "process_ends"]


class Announced(Protocol):
    """The part of a worker that is needed here."""

    app: Any
    node: str


class Announcer:
    """Sends the signals about one worker.

    Parameters:
        worker: their sender, or their ``instance``.
        isolated: tasks run in processes of the pool's own, which tell of themselves.
    """

    def __init__(self, worker: Announced, isolated: bool) -> None:
        self._worker = worker
        self._isolated = isolated
        self._first = threading.Lock()

    def made(self) -> None:
        """The worker has been made of its settings."""
        worker = self._worker
        conf = worker.app.settings
        signals.celeryd_init.send(worker.node, instance=worker, conf=conf, options=dict(worker.app.overrides))
        signals.celeryd_after_setup.send(worker.node, instance=worker, conf=conf)

    def starts(self) -> None:
        """It is about to reach its broker."""
        signals.worker_init.send(self._worker)
        if not self._isolated:
            process_begins(self._worker.node)

    def is_ready(self) -> None:
        """It takes messages."""
        signals.worker_ready.send(self._worker)

    def stops(self, by: str | None) -> None:
        """It takes no more messages; told once.

        Parameters:
            by: the name of the signal that made it stop, if one did.
        """
        if self._first.acquire(blocking=False):
            signals.worker_shutting_down.send(self._worker.node, sig=by, how="Warm", exitcode=0)

    def has_stopped(self) -> None:
        """It has let go of everything."""
        if not self._isolated:
            process_ends()
        signals.worker_shutdown.send(self._worker)


_began = 0
"""The id of the process that was told of; a child must not take its parent's for its own."""


def process_begins(node: str) -> None:
    """A process is about to run tasks.

    Parameters:
        node: the name of its worker.
    """
    global _began
    _began = os.getpid()
    signals.worker_process_init.send(node)


def process_ends() -> None:
    """A process is about to end; told if it ever ran tasks."""
    if _began == os.getpid():
        signals.worker_process_shutdown.send(None, pid=os.getpid(), exitcode=0)
