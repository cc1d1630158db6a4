"""One call of the asyncio pool: a green thread on the event loop, for which a task awaits."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent, greenlet

from pools.base import Call
from pools.crew import Crew, Work
from pools.errors import Killed
from pools.eventloop import EventLoop
from pools.loopthread import Interruptible
from pools.reporting import stack

__all__ = ["TaskCall", "current_call"]

if TYPE_CHECKING:

    class Greenlet(greenlet):
        """greenlet, with the context that its type stubs leave out."""

        gr_context: contextvars.Context | None
else:
    Greenlet = greenlet


class TaskCall(Greenlet):
    """Runs a call on the loop until it has to wait; then a task awaits what it waits for, and resumes it.

    Parameters:
        call: what to run.
        end: called in this green thread with value and error, when the call has ended.
        loop: the pool's event loop; made and used in its thread.
        crew: the pool's native threads.
    """

    def __init__(
        self,
        call: Call,
        end: Callable[[TaskCall, Any, BaseException | None], None],
        loop: EventLoop,
        crew: Crew,
    ) -> None:
        super().__init__()
        self.call = call
        self._end = end
        self._loop = loop
        self._crew = crew
        self._awaited: Any = None
        self._work: Work | None = None
        self._driver: Interruptible | None = None
        self._killed = False
        self.gr_context = contextvars.Context()

    # ── in the loop ──────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Run until it ends or first waits."""
        context = self.gr_context
        awaited = self.switch()
        if not self.dead:
            assert context is not None
            self._driver = Interruptible(self._drive(awaited))
            self._driver.start(self._loop, context)

    async def _drive(self, awaited: Awaitable[Any]) -> None:
        while not self.dead:
            self._awaited = awaited
            try:
                value = await awaited
            except GeneratorExit:  # the loop has been closed: nothing can be awaited any more
                self.throw(Killed("the event loop was closed"))
                raise
            except BaseException as error:
                seen = self._seen_from_inside(error)
                # Thrown alone it would lose the frames that it comes from.
                awaited = self.throw(type(seen), seen, seen.__traceback__)
            else:
                if self._killed:  # what it waited for has swallowed the cancellation
                    self._killed = False
                    awaited = self.throw(Killed("the call was killed"))
                else:
                    awaited = self.switch(value)
        self._awaited = None

    def _seen_from_inside(self, error: BaseException) -> BaseException:
        if self._killed and isinstance(error, asyncio.CancelledError):
            self._killed = False  # it arrives now; what `finally` blocks wait for is not disturbed
            return Killed("the call was killed")
        assert self._driver is not None
        return self._driver.unwrap(error)

    def interrupt(self, exception: BaseException) -> None:
        """Raise `exception` where the call waits: in the coroutine, or in the thread that works for it."""
        if self.call.finished or self._driver is None:
            return
        if self._work is None or not self._work.throw(exception):
            self._driver.interrupt(exception)

    def kill(self) -> None:
        """Cancel what the call waits for, and raise `Killed` in it."""
        if self.call.finished or self._driver is None:
            return
        self._killed = True
        if self._work is not None:
            self._work.throw(Killed("the call was killed"))
            self._crew.abandon(self._work)
        self._driver.interrupt(asyncio.CancelledError())

    # ── in the green thread ──────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Run the call, and report its end."""
        call = self.call
        value: Any = None
        failure: BaseException | None = None
        try:
            call.started = time.monotonic()
            value = call.fn(*call.args)
            if inspect.iscoroutine(value):
                value = self.wait(value)
        except BaseException as error:
            failure = error
        self._end(self, value, failure)

    def wait(self, awaited: Awaitable[Any]) -> Any:
        """Let the loop go on until `awaited` is there; return its value or raise its exception."""
        assert self.parent is not None
        return self.parent.switch(awaited)

    def wakeable(self, timeout: float | None) -> tuple[Callable[[], object], Coroutine[Any, Any, Any]]:
        """Return what ends a wait, from any thread, and what to wait for, up to `timeout` seconds."""
        future = self._loop.create_future()
        return functools.partial(_wake, self._loop, future), _until(future, timeout)

    def in_thread(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run blocking code in a native thread, in a copy of the call's context, and wait for it."""
        context = contextvars.copy_context()
        future, self._work = self._loop.call_in_crew(
            self._crew, functools.partial(fn, *args, **kwargs), context=context
        )
        try:
            return self.wait(future)
        finally:
            self._work = None

    # ── for `watch` ──────────────────────────────────────────────────────────────────────────────────────

    def runs(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether it is what the loop runs now.

        Parameters:
            task: the one that the loop is in.
        """
        if self._driver is None:  # it has not waited yet, and runs in no task
            return self.gr_frame is None and not self.dead
        return task is not None and self._driver.task is task

    def stack(self, ident: int) -> list[str]:
        """Describe where the call is, innermost frame last.

        Parameters:
            ident: the loop's thread.
        """
        work = self._work
        frame = self.gr_frame
        if work is not None:
            return stack(work.frame(), __file__)
        if frame is None:
            return stack(sys._current_frames().get(ident), __file__)
        return stack(frame, __file__) + _coroutine_stack(self._awaited)


def _coroutine_stack(awaited: Any) -> list[str]:
    found = []
    while inspect.iscoroutine(awaited) and awaited.cr_frame is not None:
        found.append(traceback.FrameSummary(
            awaited.cr_code.co_filename, awaited.cr_frame.f_lineno, awaited.cr_code.co_name
        ))  # fmt: skip
        awaited = awaited.cr_await
    return [text.rstrip("\n") for text in traceback.StackSummary.from_list(found).format()]


async def _until(future: asyncio.Future[None], timeout: float | None) -> None:
    await asyncio.wait([future], timeout=timeout)


def _wake(loop: EventLoop, future: asyncio.Future[None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def current_call() -> TaskCall | None:
    """The call whose own code is running in this thread now; None in coroutines and elsewhere."""
    current = getcurrent()
    return current if isinstance(current, TaskCall) else None
