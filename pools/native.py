"""Real threads, locks and signals, also in a process whose standard library was made green.

What crosses between green threads and native ones goes through here: a mutex that never switches green
threads, a one-shot `Signal` that any thread can set and that each waits for in its own way, and `run` for
blocking code.
"""

from __future__ import annotations

import _queue
import contextvars
import importlib
import os
import sys
from _thread import LockType
from collections.abc import Callable
from typing import Any

from pools.wakeup import current_hub, doorbell

__all__ = ["Lock", "NativeThread", "Signal", "current", "get_ident", "is_native", "original", "run", "start"]

RUNNERS = 16
"""How many native threads `run` starts at most, for the whole process."""


def original(module: str, name: str) -> Any:
    """Return what the standard library had under that name before gevent or eventlet replaced it.

    Parameters:
        module: such as ``"threading"``.
        name: an attribute of that module.
    """
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.already_patched:
        return getattr(patcher.original(module), name)
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


# The originals stay what they are whenever the library is patched: looking them up once is enough.
_start_new_thread = original("_thread", "start_new_thread")
_get_native_id: Callable[[], int] = original("_thread", "get_native_id")
Lock: Callable[[], LockType] = original("_thread", "allocate_lock")
"""Makes a real mutex: it blocks the native thread, so hold it for a few instructions only.

It is the interpreter's own, with no Python code around it: an exception that `Pool.interrupt` raises in a
native thread could come between taking a lock there and the ``with`` block that gives it back.
"""
get_ident: Callable[[], int] = original("_thread", "get_ident")
"""The identifier of the native thread that calls, also where `threading.get_ident` tells green ones apart."""


def is_native() -> bool:
    """Whether the calling thread may block: it has no hub, and runs no task of the process's event loop."""
    taskcalls = sys.modules.get("pools.taskcalls")
    return current_hub() is None and (taskcalls is None or taskcalls.current_call() is None)


class Signal:
    """A one-shot event between any two threads, native or green.

    Whoever waits lets the other green threads of its hub run meanwhile.
    """

    __slots__ = ("_is_set", "_lock", "_wake")

    def __init__(self) -> None:
        self._is_set = False
        self._lock = Lock()
        self._wake: list[Callable[[], object]] = []

    @property
    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._is_set

    def set(self) -> None:
        """Let every waiter go on, now and later; from any native thread, never blocks."""
        with self._lock:
            self._is_set = True
            for wake in self._wake:
                try:
                    wake()
                except Exception:
                    # Its hub or loop is gone, and who waited there with it: the others still wait.
                    continue
            self._wake.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for `set`; True if it came."""
        if self._is_set:
            return True
        taskcalls = sys.modules.get("pools.taskcalls")
        call = None if taskcalls is None else taskcalls.current_call()
        if call is not None:
            return self._wait_asyncio(call, timeout)
        here = current_hub()
        if here is None:
            return self._wait_native(timeout)
        library, hub = here
        return self._wait_gevent(hub, timeout) if library == "gevent" else self._wait_eventlet(hub, timeout)

    def _enter(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            if not self._is_set:
                self._wake.append(wake)
            return not self._is_set

    def _leave(self, wake: Callable[[], object]) -> None:
        with self._lock:
            if wake in self._wake:
                self._wake.remove(wake)

    def _wait_native(self, timeout: float | None) -> bool:
        gate = Lock()
        gate.acquire()
        wake = gate.release
        if self._enter(wake):
            try:
                gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
            finally:
                self._leave(wake)
        return self._is_set

    def _wait_asyncio(self, call: Any, timeout: float | None) -> bool:
        wake, awaitable = call.wakeable(timeout)
        try:
            if self._enter(wake):
                call.wait(awaitable)
            else:
                awaitable.close()
        finally:
            self._leave(wake)
        return self._is_set

    def _wait_gevent(self, hub: Any, timeout: float | None) -> bool:
        bell = hub.loop.async_()
        late: list[bool] = []
        left: list[bool] = []
        timer = None
        me = sys.modules["greenlet"].getcurrent()
        home = get_ident()

        def resume() -> None:
            if not left:
                me.switch()

        def expire() -> None:
            late.append(True)
            me.switch()

        def wake() -> None:
            if get_ident() == home:
                # A busy hub looks at its bells, which are sockets to it, only every so often.
                hub.loop.run_callback(resume)
            else:
                bell.send()

        bell.start(me.switch)
        try:
            with self._lock:
                if not self._is_set:
                    self._wake.append(wake)
            if not self._is_set:
                if timeout is not None:
                    timer = hub.loop.timer(max(0.0, timeout))
                    timer.start(expire)
                while not self._is_set and not late:
                    hub.switch()
        finally:
            left.append(True)
            with self._lock:  # which `set` holds: nobody rings a closed bell
                if wake in self._wake:
                    self._wake.remove(wake)
            bell.stop()
            bell.close()
            if timer is not None:
                timer.stop()
                timer.close()
        return self._is_set

    def _wait_eventlet(self, hub: Any, timeout: float | None) -> bool:
        bell = doorbell(hub)
        late: list[bool] = []
        left: list[bool] = []
        me = sys.modules["greenlet"].getcurrent()

        def resume() -> None:
            if not left:
                me.switch()

        def expire() -> None:
            late.append(True)
            resume()

        def wake() -> None:
            bell.ring(resume)

        timer = None
        try:
            if self._enter(wake):
                if timeout is not None:
                    timer = hub.schedule_call_global(max(0.0, timeout), expire)
                while not self._is_set and not late:
                    hub.switch()
        finally:
            left.append(True)
            self._leave(wake)
            if timer is not None:
                timer.cancel()
        return self._is_set


class NativeThread:
    """A real, daemonic thread.

    Attributes:
        name: for people.
        ident: its native identifier, as in `sys._current_frames`; 0 until it runs.
        native_id: as the operating system numbers it; 0 until it runs.
    """

    def __init__(self, fn: Callable[[], object], name: str) -> None:
        self.name = name
        self.ident = 0
        self.native_id = 0
        self._fn = fn
        self._ended = Signal()
        _start_new_thread(self._run, ())

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._ended.is_set

    def join(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for its end, in the way of the calling thread; True if it ended."""
        return self._ended.wait(timeout)

    def _run(self) -> None:
        try:
            self.ident = get_ident()
            self.native_id = _get_native_id()
            _living[self.ident] = self
            self._fn()
        finally:
            _living.pop(self.ident, None)
            self._ended.set()


_living: dict[int, NativeThread] = {}


def current() -> NativeThread | None:
    """The calling thread, if `start` made it."""
    return _living.get(get_ident())


def start(fn: Callable[[], object], name: str) -> NativeThread:
    """Run `fn` in a real thread of its own, also in a patched process.

    An exception that ends it is printed by `sys.unraisablehook`.
    """
    return NativeThread(fn, name)


class _Job:
    """One call on its way through the threads of `run`."""

    __slots__ = ("args", "context", "ended", "error", "fn", "value")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args
        self.context = contextvars.copy_context()
        self.ended = Signal()
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self.context.run(self.fn, *self.args)
        except BaseException as error:
            self.error = error


class _Runners:
    """The threads of `run`: started when needed, kept, never more than `RUNNERS`."""

    def __init__(self) -> None:
        self._jobs: _queue.SimpleQueue[_Job] = _queue.SimpleQueue()
        self._lock = Lock()
        self._idents: set[int] = set()
        self._started = 0
        self._waiting = 0

    def put(self, job: _Job) -> None:
        with self._lock:
            self._waiting += 1
            more = self._waiting > self._started < RUNNERS
            self._started += more
        self._jobs.put(job)
        if more:
            start(self._work, "native-run")

    def here(self) -> bool:
        """Whether the calling thread is one of them: it must not wait for another of them."""
        return get_ident() in self._idents

    def _work(self) -> None:
        self._idents.add(get_ident())
        while True:
            job = self._jobs.get()
            job.run()
            # Free before its caller is told, which may put the next at once: that needs no other thread.
            with self._lock:
                self._waiting -= 1
            job.ended.set()
            del job  # or the last call's arguments and result would live as long as this thread is idle


_runners = _Runners()


def _after_fork() -> None:
    global _runners
    _runners = _Runners()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(fn: Callable[..., Any], *args: Any) -> Any:
    """Run blocking code in a native thread, in a copy of the caller's context, and return what it returns.

    The caller waits as its own world waits: other green threads go on. When all `RUNNERS` threads are taken,
    the call waits for its turn. If the caller is interrupted, the code goes on and its outcome is dropped.
    """
    if _runners.here():
        return fn(*args)
    job = _Job(fn, args)
    _runners.put(job)
    job.ended.wait()
    if job.error is not None:
        try:
            raise job.error
        finally:
            del job  # the error's traceback refers to this frame: break the circle
    return job.value
