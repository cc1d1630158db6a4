"""The event loop of the process, and calls that wait for coroutines on it (see `pools.coroutines`)."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any

from pools import native
from pools.errors import PoolError
from pools.eventloop import EventLoop
from pools.exitcodes import notice_hub
from pools.loopthread import ATTENTION, CLEANUP, Interruptible, LoopThread

__all__ = ["run_in_background"]


class _Run:
    """One coroutine on the process's loop, and the call that waits for it."""

    __slots__ = ("_context", "_driver", "_error", "_value", "abandoned", "caller", "ended")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._context = contextvars.copy_context()
        self._driver = Interruptible(coroutine)
        self._driver.owner = self
        self.caller = _place()
        """Where the call runs that waits for it; no reference, which would be taken for a task's leftover."""
        self.abandoned = False
        """Whether that was ended and waits no more, while the coroutine runs on."""
        self._value: Any = None
        self._error: BaseException | None = None
        self.ended = native.Signal()

    def begin(self, loop: EventLoop) -> None:
        self._driver.start(loop, self._context).add_done_callback(self._end)

    def interrupt(self, exception: BaseException) -> None:
        self._driver.interrupt(exception)

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._driver.owner = None
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
                try:
                    loop_thread.call(ours.interrupt, asyncio.CancelledError())
                    ours.ended.wait(CLEANUP)
                finally:
                    ours.abandoned = True
            raise


def _place() -> int:
    """The identity of the calling green thread; 0 in a program that has none."""
    library: Any = sys.modules.get("greenlet")
    return 0 if library is None else id(library.getcurrent())


def breathed() -> float:
    """For how many seconds the loop has not answered; 0.0 if there is none."""
    return 0.0 if _current is None else _current.breathed()


def blocking() -> tuple[int, bool, FrameType | None, int] | None:
    """What the loop runs: who waits for it, whether nobody does any more, its frame, its thread."""
    loop_thread = _current
    task = None if loop_thread is None else loop_thread.running()
    driver: Any = None if task is None else task.get_coro()
    if loop_thread is None or not isinstance(driver, Interruptible):
        return None
    ours: _Run | None = driver.owner
    if ours is None:
        return None
    return ours.caller, ours.abandoned, loop_thread.frame(), loop_thread.thread.native_id


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
