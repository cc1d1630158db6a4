"""The asyncio pool: calls run on an event loop of the pool's own, thousands at once in one native thread."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from pools import coroutines, native
from pools.admission import Admission, Ticket, open_all
from pools.base import Blocking, Call, Features, Pool, Running, Service, Watch
from pools.crew import Crew
from pools.errors import Killed, PoolClosed, PoolError
from pools.loopthread import LoopThread
from pools.reporting import report, stack
from pools.taskcalls import TaskCall, current_call

__all__ = ["AsyncioPool"]

GRACE = 1.0
"""Seconds that killed calls have for their ``finally`` blocks when the pool closes."""

BATCH = 200
"""How many calls are begun before the loop looks at what else there is to do."""


class AsyncioPool(Pool):
    """Runs each call on one event loop, as a green thread of it.

    A call's own code is plain code, and the loop stands still while it computes. It waits through what the
    pool offers: `bind` of a coroutine function awaits the coroutine on this loop; `bind` of an ordinary
    function, and `native_call`, run it in a native thread, of which there are as many as calls; `sleep`. A
    function that returns a coroutine is awaited too. Nothing here is harmed by monkey-patching.

    An interrupt is raised where the call waits: in the coroutine, or in the function that a thread runs, as
    soon as that runs Python code again. A kill cancels the coroutine and ends the call when its ``finally``
    blocks have run; a function in a thread cannot be ended, so its call ends at once, and the thread goes on
    until it next runs Python code. Code that computes without waiting can be neither interrupted nor killed.
    """

    name: ClassVar[str] = "asyncio"
    features: ClassVar[Features] = Features(interrupt=True, kill=True)

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        super().__init__(capacity, setup)
        self._slots = Admission(self.name, capacity, self._begin)
        self._doomed: set[Call] = set()
        """Those of them that were killed."""
        self._alive: set[TaskCall] = set()
        """Begun and not reported."""
        self._pending: deque[Call] = deque()
        """Spawned and not begun."""
        self._scheduled = False
        self._closers: list[native.Signal] = []
        self._unforced = True
        self._stop_when_quiet = False
        self._crew = Crew(capacity, "asyncio-call")
        self._thread = LoopThread("asyncio-pool")
        self._loop = self._thread.loop

    # ── size ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> int:
        return len(self._slots.calls)

    def resize(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a pool's capacity must be at least 1, not {capacity}")
        self._capacity = self._crew.limit = capacity
        self._slots.resize(capacity)

    def wait_free(self, timeout: float | None = None) -> int:
        return self._slots.wait_free(timeout, self._refuse_on_loop)

    def _refuse_on_loop(self) -> None:
        """The calling code is about to wait: unless it is a call's own, that must not be on the loop."""
        if self._thread.here() and current_call() is None:
            raise PoolError("code on the event loop must not wait for the pool: the loop would stand still")

    def _soon(self, fn: Callable[..., object], *args: Any) -> None:
        if self._thread.here():
            self._loop.call_soon(fn, *args)
        else:
            self._thread.call(fn, *args)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────

    def spawn(
        self,
        fn: Callable[..., Any],
        *args: Any,
        done: Callable[[Call], None] | None = None,
        tag: Any = None,
    ) -> Call:
        call = Call(fn, args, done, tag)
        self._slots.enter(Ticket(call), before=self._refuse_on_loop)
        return call

    def _begin(self, ticket: Ticket) -> None:
        self._pending.append(ticket.call)
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._serve)

    def _serve(self) -> None:
        """In the loop: begin what has been spawned."""
        for _ in range(BATCH):
            with self._slots.lock:
                if not self._pending:
                    self._scheduled = False
                    return
                call = self._pending.popleft()
                task_call = call.place = TaskCall(call, self._end, self._loop, self._crew)
                self._alive.add(task_call)
            if call in self._doomed:
                self._end(task_call, None, Killed("the call was killed before it began"))
            else:
                task_call.begin()
        self._loop.call_soon(self._serve)

    def _end(self, task_call: TaskCall, value: Any, error: BaseException | None) -> None:
        """In the call's green thread: it has ended."""
        self._finish(task_call.call, value, error)
        with self._slots.lock:
            self._alive.discard(task_call)
            stop = self._stop_when_quiet and not self._alive
        open_all(list(self._closers))
        if stop:
            self._thread.stop(0.0)

    def _finish(self, call: Call, value: Any, error: BaseException | None) -> None:
        with self._slots.lock:
            if call.finished:
                return
            if call in self._doomed:
                self._doomed.discard(call)
                value, error = None, error if isinstance(error, Killed) else Killed("the call was killed")
            call.value, call.error, call.finished, call.place = value, error, True, None
            woken = self._slots.leave(call)
        open_all(woken)
        report(call)

    def interrupt(self, call: Call, exception: BaseException) -> bool:
        task_call: TaskCall | None = call.place
        if call.finished or task_call is None:
            return False
        if task_call is current_call():
            raise exception
        self._soon(task_call.interrupt, exception)
        return True

    def kill(self, call: Call) -> bool:
        with self._slots.lock:
            if call.finished:
                return False
            self._doomed.add(call)
            task_call: TaskCall | None = call.place
        if task_call is None:
            return True  # it is ended where it would have begun
        if task_call is current_call():
            raise Killed("the call has killed itself")
        self._soon(task_call.kill)
        return True

    def abandon(self, call: Call) -> bool:
        if call.finished:
            return False
        with self._slots.lock:
            task_call: TaskCall | None = call.place
            if task_call is not None:
                self._alive.discard(task_call)
        self._finish(call, None, Killed("the call was killed, and goes on"))
        return True

    # ── around the calls ─────────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float) -> None:
        here = self._here()
        if here is not None:
            here.wait(asyncio.sleep(seconds))
        else:
            native.Signal().wait(seconds)

    def service(self, fn: Callable[[], None], name: str) -> Service:
        return _NativeService(fn, name)

    def native_call(self, fn: Callable[..., Any], *args: Any) -> Any:
        here = self._here()
        return native.run(fn, *args) if here is None else here.in_thread(fn, *args)

    def bind(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a plain function that runs `fn` to its end.

        Inside a call of this pool a coroutine function is awaited on the pool's loop, and an ordinary
        function runs in a native thread; elsewhere they run as `pools.coroutines.bind` has it.
        """
        if coroutines.is_coroutine_function(fn):

            def bound(*args: Any, **kwargs: Any) -> Any:
                here = self._here()
                return coroutines.run(fn(*args, **kwargs)) if here is None else here.wait(fn(*args, **kwargs))

        else:

            def bound(*args: Any, **kwargs: Any) -> Any:
                here = current_call()
                return fn(*args, **kwargs) if here is None else here.in_thread(fn, *args, **kwargs)

        functools.update_wrapper(bound, fn, updated=())
        return bound

    def _here(self) -> TaskCall | None:
        """The calling call."""
        here = current_call()
        if here is None and self._thread.here():
            raise PoolError("a coroutine must await instead: the event loop would stand still")
        return here

    def calls(self) -> list[Call]:
        return list(self._slots.calls)

    def watch(self) -> Watch:
        breathed = self.breathed()
        now = time.monotonic()
        running = []
        for call in self.calls():
            task_call: TaskCall | None = call.place
            if task_call is not None:
                running.append(Running(call, now - call.started, task_call.stack(self._thread.thread.ident)))
        return Watch(running, breathed)

    def blocking(self) -> Blocking | None:
        task = self._thread.running()
        call = next((it.call for it in list(self._alive) if it.runs(task)), None)
        return Blocking(call, stack(self._thread.frame()), self._thread.thread.native_id)

    def breathed(self) -> float:
        return self._thread.breathed()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = None) -> bool:
        me = self._here()
        self._slots.close()
        if not self._wait_quiet(me, timeout):
            self._unforced = False
            for call in self._others(me):
                self.kill(call)
            self._wait_quiet(me, GRACE)
            for call in self._others(me):
                self._doomed.discard(call)
                self._finish(
                    call, None, PoolClosed("the pool was closed, and this call did not end when killed")
                )
        with self._slots.lock:
            self._stop_when_quiet = True
            empty = not self._alive
        if me is None or empty:
            self._thread.stop(2 * GRACE)
        return self._unforced

    def _others(self, me: TaskCall | None) -> list[Call]:
        return [call for call in self.calls() if me is None or call is not me.call]

    def _wait_quiet(self, me: TaskCall | None, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until every other call has ended and is reported."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            ended = native.Signal()
            self._closers.append(ended)
            try:
                if not self._others(me) and not self._alive - {me}:
                    return True
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    return False
                ended.wait(rest)
            finally:
                self._closers.remove(ended)


class _NativeService(Service):
    """A background duty in a native thread."""

    def __init__(self, fn: Callable[[], None], name: str) -> None:
        self._fn = fn
        self._error: BaseException | None = None
        self._thread = native.start(self._run, name)

    def join(self, timeout: float | None = None) -> bool:
        return self._thread.join(timeout)

    @property
    def error(self) -> BaseException | None:
        return self._error

    def _run(self) -> None:
        try:
            self._fn()
        except BaseException as error:
            self._error = error
