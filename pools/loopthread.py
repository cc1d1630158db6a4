"""Native threads that run event loops, and coroutines on them that can be interrupted from outside."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from pools import native
from pools.errors import PoolError
from pools.eventloop import EventLoop, new_event_loop

__all__ = ["ATTENTION", "CLEANUP", "Interruptible", "LoopThread"]

CLEANUP = 5.0
"""Seconds that the `finally` blocks of a cancelled coroutine get before nobody waits for them any more."""

ATTENTION = 10.0
"""Seconds after which a waiting call looks whether the loop's thread is still there."""


BREATH = 0.1
"""Seconds that an answer of the loop is waited for."""


class Interruptible(Coroutine[Any, Any, Any]):
    """Drives a coroutine in a task, and lets others raise exceptions of their choice where it waits."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._pending: deque[BaseException] = deque()
        self._task: asyncio.Task[Any] | None = None
        self.owner: Any = None
        """Whoever has it driven may leave a note here."""
        self._raised: list[BaseException] = []
        self._begun = False
        self.fatal: BaseException | None = None
        """SystemExit or KeyboardInterrupt that ended it: in a task they would end the loop as well."""

    def start(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> asyncio.Task[Any]:
        """Begin it, in the loop's thread."""
        self._task = loop.create_task(self, context=context)
        return self._task

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that it runs in, once it has begun."""
        return self._task

    def interrupt(self, exception: BaseException) -> None:
        """Raise `exception` where it waits, in the loop's thread; what it waits for is cancelled."""
        assert self._task is not None
        if not self._task.done():
            self._pending.append(exception)
            self._task.cancel()

    def unwrap(self, error: BaseException) -> BaseException:
        """Return the interrupt that `error` is, also if a task group has wrapped it in an exception group."""
        if isinstance(error, BaseExceptionGroup) and self._raised:
            _, others = error.split(lambda inner: inner in self._raised)
            if others is None:
                return self._raised[-1].with_traceback(error.__traceback__)
        return error

    def send(self, value: Any) -> Any:
        if self._pending and self._begun:  # what it waited for swallowed the cancellation
            return self._step(self._coroutine.throw, self._take())
        self._begun = True
        return self._step(self._coroutine.send, value)

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        error = value if value is not None else kind
        assert self._task is not None
        if not self._begun:  # let it get to where it first waits, so that it can handle what is raised there
            if not self._pending:
                self._pending.append(error)
            self._begun = True
            self._task.get_loop().call_soon(self._task.cancel)
            return self._step(self._coroutine.send, None)
        if self._pending and isinstance(error, asyncio.CancelledError):
            error = self._take()
        return self._step(self._coroutine.throw, error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def _take(self) -> BaseException:
        assert self._task is not None
        exception = self._pending.popleft()
        self._raised.append(exception)
        if not isinstance(exception, asyncio.CancelledError):
            self._task.uncancel()
        if self._pending:
            self._task.get_loop().call_soon(self._task.cancel)
        return exception

    def _step(self, step: Callable[[Any], Any], value: Any) -> Any:
        try:
            return step(value)
        except (SystemExit, KeyboardInterrupt) as error:
            self.fatal = error
            raise StopIteration from None


class LoopThread:
    """A native thread that runs an event loop.

    Parameters:
        name: for people.
    """

    def __init__(self, name: str) -> None:
        self._stopping = False
        self._asked = 0.0
        self._answered = native.Signal()
        self._asking = native.Lock()
        self.loop = new_event_loop()
        self.thread = native.start(self._run, name)
        _running.add(self)

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn` called in the loop soon; from any native thread.

        Raises:
            PoolError: the loop has been stopped.
        """
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError as error:
            raise PoolError("the event loop has been stopped: the process is about to end") from error

    def here(self) -> bool:
        """Whether the calling thread is the loop's own."""
        return asyncio._get_running_loop() is self.loop

    def breathed(self) -> float:
        """Ask the loop for a sign of life, and wait a moment; for how many seconds it has not answered."""
        if self.here() or not self.thread.alive:
            return 0.0
        with self._asking:
            ask = self._asked == 0.0
            if ask:
                self._asked = time.monotonic()
                self._answered = native.Signal()
            answered, asked = self._answered, self._asked
        if ask:
            self.call(self._answer, answered)
        return 0.0 if answered.wait(BREATH) else time.monotonic() - asked

    def _answer(self, answered: native.Signal) -> None:
        with self._asking:
            self._asked = 0.0
        answered.set()

    def running(self) -> asyncio.Task[Any] | None:
        """The task that the loop is in now."""
        return asyncio.current_task(self.loop)

    def frame(self) -> FrameType | None:
        """The innermost frame of what it runs."""
        return sys._current_frames().get(self.thread.ident)

    def stop(self, timeout: float) -> bool:
        """Cancel what runs, let it clean up, and end the thread; True if it ended in `timeout` seconds."""
        self._stopping = True
        _running.discard(self)
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        return self.thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):  # of a task that the program made itself
                self.loop.run_forever()
        cleaning = self.loop.create_task(_clean_up(self.loop))
        while not cleaning.done():
            # RuntimeError: the order to stop was given before the loop began to run
            with contextlib.suppress(SystemExit, KeyboardInterrupt, RuntimeError):
                self.loop.run_until_complete(cleaning)
        self.loop.close()


_running: set[LoopThread] = set()


def _stop_all() -> None:
    """Cancel what is left before the interpreter takes the loops apart under it."""
    for loop_thread in list(_running):
        loop_thread.stop(CLEANUP)


def _after_fork() -> None:
    """Leave the parent's loops alone: their threads are not here, and closing one would disturb it."""
    _left_behind.extend(_running)
    _running.clear()


_left_behind: list[LoopThread] = []
atexit.register(_stop_all)
os.register_at_fork(after_in_child=_after_fork)


async def _clean_up(loop: EventLoop) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLEANUP / 2)
    await loop.shutdown_asyncgens()
