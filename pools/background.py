"""The event loop of the process, and calls that wait for coroutines on it (see `pools.coroutines`)."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Coroutine
from typing import Any

from pools import native
from pools.errors import PoolError
from pools.eventloop import EventLoop
from pools.exitcodes import notice_hub
from pools.loopthread import ATTENTION, CLEANUP, Interruptible, LoopThread

__all__ = ["run_in_background"]


class _Run:
    """One coroutine on the process's loop, and the call that waits for it."""

    __slots__ = ("_context", "_driver", "_error", "_value", "ended")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._context = contextvars.copy_context()
        self._driver = Interruptible(coroutine)
        self._value: Any = None
        self._error: BaseException | None = None
        self.ended = native.Signal()

    def begin(self, loop: EventLoop) -> None:
        self._driver.start(loop, self._context).add_done_callback(self._end)

    def interrupt(self, exception: BaseException) -> None:
        self._driver.interrupt(exception)

    def _end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._error = asyncio.CancelledError()
        else:
            error = self._driver.fatal or task.exception()
            self._error = error and self._driver.unwrap(error)
            self._value = None if self._error else task.result()
        self.ended.set()

    def outcome(self) -> Any:
        if self._error is None:
            return self._value
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame: break the circle


def run_in_background(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Do what `pools.coroutines.run` says."""
    notice_hub()
    loop_thread = _loop_thread()
    if loop_thread.here():
        coroutine.close()
        raise PoolError("this code runs on the event loop already: await the coroutine instead")
    ours = _Run(coroutine)
    try:
        loop_thread.call(ours.begin, loop_thread.loop)
    except PoolError:
        coroutine.close()
        raise
    while True:
        try:
            while not ours.ended.wait(ATTENTION):
                if not loop_thread.thread.alive:
                    raise PoolError("the event loop ended while a coroutine ran on it")
            return ours.outcome()
        except Exception as interruption:
            if ours.ended.is_set or not loop_thread.thread.alive:
                raise
            loop_thread.call(ours.interrupt, interruption)
        except BaseException:
            if not ours.ended.is_set:
                loop_thread.call(ours.interrupt, asyncio.CancelledError())
                ours.ended.wait(CLEANUP)
            raise


_lock = native.Lock()
_current: LoopThread | None = None


def _loop_thread() -> LoopThread:
    global _current
    if _current is None:
        with _lock:
            if _current is None:
                _current = LoopThread("coroutines")
    return _current


def _after_fork() -> None:
    """Forget the parent's loop: its thread is not here."""
    global _current, _lock
    _lock = native.Lock()
    _current = None


os.register_at_fork(after_in_child=_after_fork)
