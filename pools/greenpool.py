"""The Pool contract on green threads; gevent.py and eventlet.py fill in the library's primitives."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import ref

from greenlet import getcurrent, greenlet

from pools import greenthreads, native
from pools.base import Blocking, Call, Running, Service, Watch
from pools.errors import Killed, PoolClosed, PoolError
from pools.greenhub import GreenService, GreenWaiter, Hub, OutsideWaiter, Ping
from pools.greenthreads import GreenThreads
from pools.reporting import report, stack

__all__ = ["GreenPool"]

GRACE = 1.0
"""Seconds that killed calls have for their ``finally`` blocks when the pool closes."""

BREATH = 0.1
"""Seconds that `watch` waits for the hub's answer when another native thread asks."""


class GreenPool(GreenThreads):
    """A pool of green threads.

    Every method may be called from any native thread; calls from the hub's own are the fast ones.
    """

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None, hub: Hub) -> None:
        super().__init__(capacity, setup, hub)
        self._ident: Callable[[], int] = native.original("_thread", "get_ident")
        self._home = self._ident()
        self._root = hub.root()
        self._thread_id: int = native.original("_thread", "get_native_id")()
        self._unforced = True
        self._given_up: list[ref[greenlet]] = []
        """Green threads whose calls were abandoned, and which may still run."""
        self._ping: Ping | None = None
        self._ping_lock = native.Lock()

    # ── size ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> int:
        return len(self._calls)

    def resize(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a pool's capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        if self._ident() == self._home:
            self._wake()
        else:
            self._hub.soon_from_outside(self._wake)

    def wait_free(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        again = False
        while True:
            if self._closed:
                self._refuse_closed()
            rest = None if deadline is None else deadline - time.monotonic()
            free = self._capacity - len(self._calls)
            if free > 0 or (rest is not None and rest <= 0):
                return max(0, free)
            if self._ident() != self._home:
                OutsideWaiter(self._hub.soon_from_outside, self._admit).wait(rest)
            else:
                self._wait(self._waiters, rest, first=again)
                if self._waiters:
                    self._wake()  # it takes no slot: whoever is next may have it
            again = True

    def _wait(self, waiters: deque[Any], timeout: float | None, first: bool = False) -> None:
        """Wait among `waiters` until woken or until `timeout` is over."""
        me = getcurrent()
        if me is self._root:
            raise PoolError("a callback of the hub must not wait for the pool: use a green thread of its own")
        waiter = GreenWaiter()
        waiter.switch, waiter.soon, waiter.woken = me.switch, self._soon, None
        if first:
            waiters.appendleft(waiter)
        else:
            waiters.append(waiter)
        cancel = None
        try:
            if timeout is not None:
                cancel = self._hub.later(max(0.0, timeout), waiter.wake, keep_alive=True)
            while waiter.woken is None:
                self._hub.switch()
        except BaseException:
            self._soon(self._wake)  # it may have been woken for a slot that the next one can have
            raise
        finally:
            if waiter.woken is not None:
                # Something else may have switched here first, and nothing may switch to what it does next.
                self._hub.never(waiter.woken)
            if cancel is not None:
                cancel()
            if waiter in waiters:
                waiters.remove(waiter)

    def _admit(self, waiter: OutsideWaiter) -> None:
        """In the hub: let another native thread have a slot, or make it wait for one."""
        if waiter.left:
            self._wake()
        elif self._closed:
            waiter.settle(admitted=False)
        elif len(self._calls) >= self._capacity:
            self._waiters.append(waiter)
        else:
            if waiter.call is not None:
                self._calls.add(waiter.call)
                self._pending.append(waiter.call)
                self._schedule()
            waiter.settle(admitted=True)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────

    def spawn(
        self,
        fn: Callable[..., Any],
        *args: Any,
        done: Callable[[Call], None] | None = None,
        tag: Any = None,
    ) -> Call:
        call = Call(fn, args, done, tag)
        if self._ident() != self._home:
            if not OutsideWaiter(self._hub.soon_from_outside, self._admit, call).wait(None):
                self._refuse_closed()
            return call
        calls = self._calls
        again = False
        while len(calls) >= self._capacity and not self._closed:
            self._wait(self._waiters, None, first=again)
            again = True
        if self._closed:
            self._refuse_closed()
        calls.add(call)
        self._pending.append(call)
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._serve)
        return call

    def interrupt(self, call: Call, exception: BaseException) -> bool:
        if call.finished or call.place is None:
            return False
        if call.place is getcurrent():
            raise exception
        post = self._soon if self._ident() == self._home else self._hub.soon_from_outside
        post(self._throw, call, exception)
        return True

    def kill(self, call: Call) -> bool:
        if call.finished:
            return False
        if call.place is getcurrent():
            raise Killed("the call has killed itself")
        if self._ident() != self._home:
            self._hub.soon_from_outside(self._end, call)
        elif call.place is None:
            self._end(call)
        else:
            self._soon(self._end, call)
        return True

    def abandon(self, call: Call) -> bool:
        if call.finished:
            return False
        if self._ident() == self._home:
            self._give_up(call)
        else:
            self._hub.soon_from_outside(self._hub.start, partial(self._give_up, call))
        return True

    def _give_up(self, call: Call) -> None:
        if not call.finished:
            # Neither waited for nor reused, whatever becomes of it.
            self._threads.discard(call.place)
            self._given_up = [given_up for given_up in self._given_up if given_up() is not None]
            self._given_up.append(ref(call.place))
            self._forget(call, Killed("the call was killed, and goes on"))
            report(call)

    def _throw(self, call: Call, exception: BaseException) -> None:
        """In the hub: raise inside the call if it still runs."""
        if call.place is not None and not call.finished:
            call.place.throw(exception)

    def _end(self, call: Call) -> None:
        """Kill it: in the hub if it runs; if it has not begun, have a green thread report it."""
        if call.place is not None:
            self._throw(call, Killed("the call was killed"))
        elif not call.finished:
            self._forget(call, Killed("the call was killed before it began"))
            self._schedule()

    def _forget(self, call: Call, error: BaseException) -> None:
        call.error = error
        call.finished = True
        self._calls.discard(call)
        self._wake()

    # ── around the calls ─────────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float) -> None:
        self._hub.sleep(seconds)

    def service(self, fn: Callable[[], None], name: str) -> Service:
        return GreenService(self._hub, fn)

    def native_call(self, fn: Callable[..., Any], *args: Any) -> Any:
        return native.run(fn, *args)

    def bind(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        from pools.coroutines import bind  # imports asyncio, which few programs need

        return bind(fn)

    def calls(self) -> list[Call]:
        return list(self._calls)

    def watch(self) -> Watch:
        breathed = self.breathed()
        now = time.monotonic()
        running = []
        for call in list(self._calls):
            thread = call.place
            if thread is not None:
                frame = thread.gr_frame or sys._current_frames().get(self._home)
                running.append(Running(call, now - call.started, stack(frame, greenthreads.__file__)))
        return Watch(running, breathed)

    def blocking(self) -> Blocking | None:
        places = [(call, call.place) for call in list(self._calls)]
        if self._ping is None:
            return _blocking_coroutine(places)
        frame = sys._current_frames().get(self._home)
        # The one that runs has no frame to be found at its green thread: that is in the native thread.
        call = next((call for call, place in places if _runs(place)), None)
        abandoned = call is None and any(_runs(given_up()) for given_up in self._given_up)
        return Blocking(call, stack(frame, greenthreads.__file__), self._thread_id, abandoned)

    def breathed(self) -> float:
        if self._ident() == self._home:
            return 0.0
        with self._ping_lock:
            ping = self._ping
            if ping is None:
                ping = self._ping = Ping(time.monotonic())
                self._hub.soon_from_outside(self._pong)
        if not ping.answered.wait(BREATH):
            return time.monotonic() - ping.sent
        background: Any = sys.modules.get("pools.background")
        return 0.0 if background is None else background.breathed()

    def _pong(self) -> None:
        ping, self._ping = self._ping, None
        if ping is not None:
            ping.answered.set()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = None) -> bool:
        if self._ident() != self._home:
            return self._close_from_outside(timeout)
        self._closed = True
        self._wake()
        if not self._wait_quiet(timeout):
            self._unforced = False
            for call in self._others():
                self.kill(call)
            self._wait_quiet(GRACE)
            for call in self._others():
                self._forget(call, PoolClosed("the pool was closed and this call did not end when killed"))
                report(call)
        self._threads.difference_update(self._idle)
        self._idle.clear()
        return self._unforced

    def _others(self) -> list[Call]:
        """The unfinished calls, but for the one that is asking."""
        me = getcurrent()
        return [call for call in self._calls if call.place is not me]

    def _wait_quiet(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until every other call has ended and is reported."""
        deadline = None if timeout is None else time.monotonic() + timeout
        inside = getcurrent() in self._threads
        while self._others() or len(self._threads) - len(self._idle) - len(self._back) > inside:
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                return False
            self._wait(self._enders, rest)
        return True

    def _close_from_outside(self, timeout: float | None) -> bool:
        ended = native.Signal()
        outcome: list[bool] = []

        def close() -> None:
            try:
                outcome.append(self.close(timeout))
            finally:
                ended.set()

        self._hub.soon_from_outside(self._hub.start, close)
        ended.wait(None if timeout is None else timeout + 2 * GRACE)
        return outcome == [True]


def _runs(thread: greenlet | None) -> bool:
    """Whether it is the one that its native thread runs now; seen from another."""
    return bool(thread) and thread is not None and not thread.dead and thread.gr_frame is None


def _blocking_coroutine(places: list[tuple[Call, Any]]) -> Blocking | None:
    """What keeps the event loop from breathing on which the calls' coroutines run."""
    background: Any = sys.modules.get("pools.background")
    found = None if background is None else background.blocking()
    if found is None:
        return None
    caller, abandoned, frame, thread = found
    call = next((call for call, place in places if id(place) == caller), None)
    return Blocking(None if abandoned else call, stack(frame), thread, abandoned)
