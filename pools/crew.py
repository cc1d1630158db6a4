"""Reusable native threads that run blocking code and report each outcome through a callback."""

from __future__ import annotations

import _queue
import sys
from collections.abc import Callable
from contextvars import Context
from types import FrameType
from typing import Any

from pools import interrupting, native
from pools.base import Call

__all__ = ["Crew", "Work"]

IDLE = 30.0
"""Seconds after which an idle thread ends."""


class Work:
    """One call in a native thread.

    Parameters:
        fn, args: what is called.
        context: the context to run it in.
        done: called in that thread with the value and the error, one of which is None.
    """

    __slots__ = ("_call", "_guard", "abandoned", "begun", "cancelled", "context", "done", "ended")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context,
        done: Callable[[Any, BaseException | None], object],
    ) -> None:
        self._call = Call(fn, args, None, None)
        self._guard = native.Lock()
        self.context = context
        self.done = done
        self.cancelled = False
        """Set it so that the work is not begun any more."""
        self.begun = False
        self.ended = False
        self.abandoned = False

    def throw(self, exception: BaseException) -> bool:
        """Raise `exception` in the thread at its next step in Python code; False if it does not run (now)."""
        return interrupting.interrupt(self._call, exception, self._guard)

    def frame(self) -> FrameType | None:
        """The innermost frame of the running code."""
        return interrupting.frame_of(self._call)

    def run(self) -> None:
        """Run it; for the crew's threads."""
        self.done(*interrupting.run(self._call, self.context, self._guard))


class Crew:
    """At most `limit` native threads, started when they are needed; idle ones end after a while.

    Parameters:
        limit: how many run at once; further work waits for its turn.
        name: for people.
    """

    def __init__(self, limit: int, name: str) -> None:
        self.limit = limit
        self._name = name
        self._queue: _queue.SimpleQueue[Work] = _queue.SimpleQueue()
        self._lock = native.Lock()
        self._threads = 0
        self._idle = 0
        self._backlog = 0

    def submit(self, work: Work) -> None:
        """Run it as soon as a thread is free; never waits."""
        with self._lock:
            more = False
            if self._idle:
                self._idle -= 1
            elif self._threads < self.limit:
                self._threads += 1
                more = True
            else:
                self._backlog += 1
        self._queue.put(work)
        if more:
            native.start(self._serve, self._name)

    def abandon(self, work: Work) -> None:
        """Do not begin it, or stop counting the thread that runs it: another may take that one's place."""
        with self._lock:
            work.cancelled = True
            if not work.begun or work.ended or work.abandoned:
                return
            work.abandoned = True
            more = self._backlog > 0
            if more:
                self._backlog -= 1
            else:
                self._threads -= 1
        if more:
            native.start(self._serve, self._name)

    def _serve(self) -> None:
        try:
            while True:
                try:
                    work = self._queue.get(timeout=IDLE)
                except _queue.Empty:
                    if self._leave_idle():
                        return
                    continue
                if self._begin(work):
                    work.run()
                if not self._next(work):
                    return
                del work  # or its arguments would live as long as this thread is idle
        finally:
            _drop_hub()

    def _leave_idle(self) -> bool:
        with self._lock:
            if not self._idle:
                return False  # work has just been promised to this thread
            self._idle -= 1
            self._threads -= 1
            return True

    def _begin(self, work: Work) -> bool:
        with self._lock:
            work.begun = not work.cancelled
            return work.begun

    def _next(self, work: Work) -> bool:
        with self._lock:
            work.ended = True
            if work.abandoned:
                return False
            if self._backlog:
                self._backlog -= 1
            else:
                self._idle += 1
            return True


def _drop_hub() -> None:
    """Free what green code that ran here has left: the hub that gevent made for this thread."""
    local = sys.modules.get("gevent._hub_local")
    if local is not None:
        hub = local.get_hub_if_exists()
        if hub is not None:
            hub.destroy()
