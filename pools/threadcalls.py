"""What the pools on native threads have in common: counting, waiting, interrupting and closing."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

from pools import interrupting, native
from pools.base import Call, Pool, Running, Service, Watch
from pools.errors import PoolClosed, PoolError, Unsupported
from pools.reporting import report, stack

__all__ = ["ThreadCalls", "ThreadService"]


class ThreadCalls(Pool):
    """A pool whose calls run in native threads of this process.

    Every method may be called from any thread.
    """

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        super().__init__(capacity, setup)
        _refuse_patched(self.name)
        self._guard = native.Lock()
        self._changed = threading.Condition(threading.Lock())
        self._calls: set[Call] = set()
        """Spawned and not finished."""
        self._reporting: dict[Call, int] = {}
        """Finished and in their `done`: in which thread."""
        self._closed = False
        self._unforced = True
        self._context = contextvars.copy_context()

    # ── size ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def busy(self) -> int:
        return len(self._calls)

    def resize(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a pool's capacity must be at least 1, not {capacity}")
        with self._changed:
            self._capacity = capacity
            self._changed.notify_all()

    def wait_free(self, timeout: float | None = None) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.free, timeout)
            if self._closed:
                self._refuse_closed()
            return self.free

    def _enter(self, call: Call) -> None:
        """Wait for a slot and take it; with `_changed` held."""
        while not self._closed and len(self._calls) >= self._capacity:
            self._changed.wait()
        if self._closed:
            self._refuse_closed()
        self._calls.add(call)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, call: Call) -> None:
        """Run the call to its end and report it, in the calling thread."""
        value, error = interrupting.run(call, self._context.copy(), self._guard)
        self._finish(call, value, error)

    def _finish(self, call: Call, value: Any, error: BaseException | None) -> None:
        """Let the call have ended so, unless it has ended already; free its slot, then report it."""
        with self._changed:
            if call.finished:
                return
            call.value, call.error, call.finished = value, error, True
            self._calls.discard(call)
            self._reporting[call] = threading.get_ident()
            self._changed.notify_all()
        report(call)
        with self._changed:
            del self._reporting[call]
            self._changed.notify_all()

    def interrupt(self, call: Call, exception: BaseException) -> bool:
        return interrupting.interrupt(call, exception, self._guard)

    def kill(self, call: Call) -> bool:
        raise Unsupported(f"the {self.name} pool cannot kill a call: {self.features.why_no_kill}")

    # ── around the calls ─────────────────────────────────────────────────────────────────────────────────

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def service(self, fn: Callable[[], None], name: str) -> Service:
        return ThreadService(fn, name)

    def native_call(self, fn: Callable[..., Any], *args: Any) -> Any:
        return fn(*args)  # each call has a native thread to itself already

    def bind(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        from pools.coroutines import bind  # imports asyncio, which few programs need

        return bind(fn)

    def calls(self) -> list[Call]:
        return list(self._calls)

    def watch(self) -> Watch:
        now = time.monotonic()
        running = []
        for call in list(self._calls):
            frame = interrupting.frame_of(call)
            if frame is not None:
                running.append(Running(call, now - call.started, stack(frame, *self._own_files)))
        return Watch(running, 0.0)

    _own_files: ClassVar[tuple[str, ...]] = (__file__, interrupting.__file__, threading.__file__)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = None) -> bool:
        me = threading.get_ident()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            ended = self._changed.wait_for(lambda: not self._others(me), timeout)
            left = [] if ended else [call for call in self._others(me) if not call.finished]
        if not ended:
            self._unforced = False
        for call in left:
            self._finish(call, None, PoolClosed("the pool was closed before this call had ended"))
        return self._unforced

    def _others(self, me: int) -> list[Call]:
        """The calls that have not ended or are not reported yet, but for those of the calling thread."""
        running = [call for call in self._calls if call.place is None or call.place.ident != me]
        return running + [call for call, ident in self._reporting.items() if ident != me]


class ThreadService(Service):
    """A background duty in a thread of its own."""

    def __init__(self, fn: Callable[[], None], name: str) -> None:
        self._fn = fn
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        return self._error

    def _run(self) -> None:
        try:
            self._fn()
        except BaseException as error:
            self._error = error


def _refuse_patched(name: str) -> None:
    """The standard library's threads must be native ones here."""
    if native.original("_thread", "start_new_thread") is not threading._start_new_thread:  # type: ignore[attr-defined]
        raise PoolError(
            f"the {name} pool needs native threads, and this process is monkey-patched: use the pool of the "
            f"library that patched it (gevent or eventlet), whose native_call runs code in native threads"
        )
