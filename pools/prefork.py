"""The prefork pool: calls run in child processes, forked from a server that has imported the program."""

from __future__ import annotations

import _thread
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from pools import frames, native
from pools.admission import Admission, Ticket, open_all
from pools.base import Call, Features, Pool, Running, Service, Watch
from pools.coroutines import bind
from pools.errors import CallDied, Killed, PoolClosed, PoolError
from pools.keeper import Keeper, Owner
from pools.nursery import ChildHandle
from pools.reporting import report
from pools.threadcalls import ThreadService

__all__ = ["PreforkPool"]

START_TIMEOUT = 120.0
"""Seconds that the setup may take."""

KILL_TIMEOUT = 5.0
"""Seconds in which killed children must have ended when the pool closes."""


class PreforkPool(Pool, Owner):
    """Runs each call in a child process.

    The children are there from the start and are replaced when they die. They are forked from a server
    process of the pool's own that ran `setup` once. If the setup left threads or sockets open, which is
    warned about, each child runs it itself. All of them end at once with the process that made the pool,
    however that ends. `done` is called in the pool's own thread: what it does delays only further reports; it
    may spawn, and then never waits for a slot. Functions, arguments and values must be picklable.

    In a child, calls run in the main thread; an interrupt arrives as SIGUSR1; SIGINT, SIGTERM, SIGHUP and
    SIGQUIT do nothing, so that the parent decides what they mean; exit handlers are not run.

    Parameters:
        capacity: how many children.
        setup: an importable ``"module:function"`` and its picklable arguments, called before the first call.

    Raises:
        PoolError: the setup failed (with its traceback), or this process is monkey-patched.
    """

    name: ClassVar[str] = "prefork"
    features: ClassVar[Features] = Features(interrupt=True, kill=True, isolated=True)

    @classmethod
    def usual_capacity(cls) -> int:
        return os.cpu_count() or 1

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        super().__init__(capacity, setup)
        _refuse_unfit()
        self._slots = Admission(self.name, capacity, self._begin)
        self._idle: list[ChildHandle] = []
        self._queue: deque[Ticket] = deque()
        """Spawned, but no child is up and idle yet."""
        self._lined_up = 0
        self._unreported = 0
        self._unforced = True
        self._quiet: native.Signal | None = None
        self._keeper = Keeper(self, setup)
        try:
            self._keeper.renew(START_TIMEOUT)
        except BaseException:
            self._keeper.stop()
            raise

    # ── size ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> int:
        return len(self._slots.calls)

    def resize(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a pool's capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self._admit()
        self._keeper.post(self._keeper.adjust)

    def line_up(self, calls: int) -> None:
        if calls != self._lined_up:
            self._lined_up = calls
            self._admit()

    def _admit(self) -> None:
        self._slots.resize(self._capacity + self._lined_up, max(1, self._lined_up // 2))

    def wait_free(self, timeout: float | None = None) -> int:
        return self._slots.wait_free(timeout)

    def reload(self, timeout: float = START_TIMEOUT) -> None:
        """Import the program anew: start another server, and take children from it from now on.

        Running calls finish in the children they have.

        Parameters:
            timeout: seconds that the setup may take.

        Raises:
            PoolError: the setup failed or took too long; the pool goes on as it was.
        """
        self._slots.refuse_closed()
        self._keeper.renew(timeout)

    def trim(self, memory: int) -> None:
        self._keeper.post(self._keeper.trim, memory)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────

    def spawn(
        self,
        fn: Callable[..., Any],
        *args: Any,
        done: Callable[[Call], None] | None = None,
        tag: Any = None,
    ) -> Call:
        call = Call(fn, args, done, tag)
        self._slots.enter(Ticket(call, frames.dump_sendable(fn, args)), wait=not self._keeper.here)
        return call

    def _begin(self, ticket: Ticket) -> None:
        self._queue.append(ticket)
        self._pair()

    def _pair(self) -> None:
        """Send calls to idle children; with the lock held."""
        while self._queue and self._idle:
            child = self._idle.pop()
            ticket = self._queue.popleft()
            child.serial += 1
            try:
                whole = child.send(frames.frame(frames.JOB, child.serial, ticket.payload))
            except OSError:  # it has died while it was idle, which will be heard: another one shall do it
                self._queue.appendleft(ticket)
                continue
            child.call = ticket.call
            ticket.call.place = child
            ticket.call.started = time.monotonic()
            if not whole:
                self._keeper.post(self._keeper.write_rest, child)

    def interrupt(self, call: Call, exception: BaseException) -> bool:
        with self._slots.lock:
            child: ChildHandle | None = call.place
            if child is None or child.call is not call or child.killed:
                return False
            child.ring(exception)
            return True

    def withdraw(self, call: Call) -> bool:
        with self._slots.lock:
            rest = deque(ticket for ticket in self._queue if ticket.call is not call)
            if len(rest) == len(self._queue):
                return False
            self._queue = rest
            call.finished = True
            woken = self._slots.leave(call)
        open_all(woken)
        if self._quiet is not None:
            self._keeper.post(self._check_quiet)
        return True

    def kill(self, call: Call) -> bool:
        with self._slots.lock:
            if call.finished or call not in self._slots.calls:
                return False
            child: ChildHandle | None = call.place
            if child is not None:
                child.kill()
                return True
            self._queue = deque(ticket for ticket in self._queue if ticket.call is not call)
        self._keeper.post(self._finish, call, None, Killed("the call was killed before it began"))
        return True

    # ── what the keeper tells, in its thread ─────────────────────────────────────────────────────────────

    def child_ready(self, child: ChildHandle) -> None:
        with self._slots.lock:
            self._rest(child)
            self._pair()

    def _rest(self, child: ChildHandle) -> None:
        """The child has nothing to do."""
        if child.retiring:
            child.dismiss()
        else:
            self._idle.append(child)

    def release(self, child: ChildHandle) -> None:
        with self._slots.lock:
            child.retiring = True
            if child in self._idle:
                self._idle.remove(child)
                child.dismiss()

    def child_answered(self, child: ChildHandle, kind: int, payload: bytes) -> None:
        with self._slots.lock:
            call = child.call
            if call is None or child.killed:
                return  # what a killed child still said doesn't count: `kill` has promised another end
            child.call = None
            self._unreported += 1
            self._rest(child)
            woken = self._slots.leave(call)
            self._pair()
        open_all(woken)
        value, error = _outcome(kind, payload)
        self._report(call, value, error)

    def child_lost(self, child: ChildHandle, exitcode: int | None) -> None:
        with self._slots.lock:
            if child in self._idle:
                self._idle.remove(child)
            call, child.call = child.call, None
        if call is not None:
            error = Killed("the call was killed") if child.killed else CallDied(exitcode)
            self._finish(call, None, error)

    def _finish(self, call: Call, value: Any, error: BaseException | None) -> None:
        with self._slots.lock:
            if call not in self._slots.calls:
                return
            self._unreported += 1
            woken = self._slots.leave(call)
        open_all(woken)
        self._report(call, value, error)

    def _report(self, call: Call, value: Any, error: BaseException | None) -> None:
        call.value, call.error, call.finished = value, error, True
        call.place = None
        report(call)
        self._unreported -= 1
        self._check_quiet()

    def _check_quiet(self) -> None:
        if self._quiet is not None and not self._slots.calls and not self._unreported:
            self._quiet.set()

    # ── around the calls ─────────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def service(self, fn: Callable[[], None], name: str) -> Service:
        return ThreadService(fn, name)

    def native_call(self, fn: Callable[..., Any], *args: Any) -> Any:
        return fn(*args)  # the calls are elsewhere: whoever calls this blocks only itself

    def bind(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return bind(fn)

    def calls(self) -> list[Call]:
        return list(self._slots.calls)

    def watch(self) -> Watch:
        now = time.monotonic()
        since = self._keeper.since
        running = [Running(call, now - call.started, []) for call in self.calls() if call.started]
        return Watch(running, now - since if since else 0.0)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = None) -> bool:
        if self._keeper.here:
            raise PoolError("`done` runs in the pool's own thread, which cannot close the pool: use another")
        self._slots.close()
        if not self._wait_quiet(timeout):
            self._unforced = False
            for call in self.calls():
                self.kill(call)
            self._wait_quiet(KILL_TIMEOUT)
            for call in self.calls():
                error = PoolClosed("the pool was closed, and this call's process did not end when killed")
                self._keeper.post(self._finish, call, None, error)
        self._keeper.stop()
        self._keeper.thread.join(2 * KILL_TIMEOUT)
        return self._unforced

    def _wait_quiet(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until every call has ended and is reported."""
        if not self._keeper.thread.alive:
            return not self._slots.calls
        quiet = self._quiet = native.Signal()
        self._keeper.post(self._check_quiet)
        return quiet.wait(timeout)


def _outcome(kind: int, payload: bytes) -> tuple[Any, BaseException | None]:
    if kind == frames.ERROR:
        return None, frames.load_error(payload)
    try:
        return frames.load(payload), None
    except Exception as reason:
        error = PoolError(f"the call's value cannot be unpickled here ({type(reason).__name__}: {reason})")
        error.__cause__ = reason
        return None, error


def _refuse_unfit() -> None:
    if frames.importing_main:
        raise PoolError(
            "a child of a prefork pool runs the program's main file to find its functions; this one makes "
            'another pool then: make it only under `if __name__ == "__main__":`'
        )
    if native.original("_thread", "start_new_thread") is not _thread.start_new_thread:
        raise PoolError(
            "the prefork pool needs the plain standard library, and this process is monkey-patched: "
            "use the pool of the library that patched it (gevent or eventlet)"
        )
