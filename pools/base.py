"""The Pool contract: run calls concurrently, bounded, and say how each of them ended.

A pool knows nothing of messages or tasks. Everything that an implementation must do is written here and
checked by the conformance suite in `pools.conformance`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pools.errors import PoolClosed

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Blocking", "Call", "Features", "Pool", "Running", "Service", "Watch"]


@dataclass(frozen=True, slots=True)
class Features:
    """What a kind of pool can do; what it can't is refused at start, with the reason.

    Parameters:
        interrupt: an exception can be raised inside a running call.
        kill: a running call can be ended from outside.
        isolated: calls run in other processes; function and arguments must be picklable.
        patches: the library (``"gevent"`` or ``"eventlet"``) whose monkey-patching a program needs so that
            ordinary blocking code cooperates in this pool; None where threads or processes do.
        why_no_interrupt, why_no_kill: the reason and the alternative, for the error message.
    """

    interrupt: bool
    kill: bool
    isolated: bool = False
    patches: str | None = None
    why_no_interrupt: str = ""
    why_no_kill: str = ""


class Call:
    """One spawned call: its handle while it runs, and its end.

    Attributes:
        fn, args: what is called.
        done: called exactly once with this handle, when the call has ended for whatever reason; in the
            thread or green thread that ran it, or in the pool's own where another process did.
        tag: the spawner's own; pools leave it alone.
        value: what the function returned.
        error: what it raised; `Killed` after `Pool.kill`, `CallDied` when its process died.
        started: `time.monotonic()` at the start of the run, 0.0 before.
        finished: True once `value` and `error` are final, set before `done` is called.
    """

    __slots__ = ("args", "done", "error", "finished", "fn", "place", "started", "tag", "value")

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], done: Callable[[Call], None] | None, tag: Any
    ) -> None:
        self.fn = fn
        self.args = args
        self.done = done
        self.tag = tag
        self.value: Any = None
        self.error: BaseException | None = None
        self.started = 0.0
        self.finished = False
        self.place: Any = None
        """Where it runs (a green thread, a thread, a child): the pool's own."""


@dataclass(frozen=True, slots=True)
class Running:
    """A call that runs now: for how many seconds, and its stack, innermost frame last.

    `stack` is empty where the call runs in another process.
    """

    call: Call
    seconds: float
    stack: list[str]


@dataclass(frozen=True, slots=True)
class Watch:
    """What a pool is doing.

    Attributes:
        running: the calls that run now.
        breathed: seconds since the pool last ran its own code. Large on a green pool: something blocks.
    """

    running: list[Running]
    breathed: float


@dataclass(frozen=True, slots=True)
class Blocking:
    """What keeps a pool from running anything else, at this moment.

    Attributes:
        call: the one whose code runs; None if that is no call's.
        stack: where it is, innermost frame last.
        thread: the native thread that it runs in, as the operating system numbers it.
        abandoned: its call was ended from outside, and it runs on.
    """

    call: Call | None
    stack: list[str]
    thread: int
    abandoned: bool = False


class Service(ABC):
    """A background duty started by `Pool.service`."""

    @abstractmethod
    def join(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for its end; True if it has ended."""

    @property
    @abstractmethod
    def error(self) -> BaseException | None:
        """What ended it, if an exception did."""


class Pool(ABC):
    """Runs calls concurrently, at most `capacity` at once.

    Only the program that made the pool spawns into it. Every method may be called from any native or green
    thread; on green pools calls from the hub that made the pool are the fast ones.

    Parameters:
        capacity: how many calls may run at once, at least 1.
        setup: for pools that run calls in other processes: an importable ``"module:function"`` and its
            picklable arguments, called in each process before its first call. Other pools call nothing.
    """

    name: ClassVar[str]
    features: ClassVar[Features]

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a pool's capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        self.setup = setup

    @classmethod
    def usual_capacity(cls) -> int:
        """How many calls suit this kind of pool on this machine, for whoever has no number in mind."""
        return 100

    # ── size ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def capacity(self) -> int:
        """How many calls may run at once."""
        return self._capacity

    @property
    @abstractmethod
    def busy(self) -> int:
        """How many calls are spawned and not yet finished (more than `capacity` just after a shrink)."""

    @property
    def free(self) -> int:
        """How many calls would start now without waiting; never negative."""
        return max(0, self._capacity - self.busy)

    @abstractmethod
    def resize(self, capacity: int) -> None:
        """Change the capacity now; running calls are never ended by a shrink."""

    @abstractmethod
    def wait_free(self, timeout: float | None = None) -> int:
        """Wait up to `timeout` seconds until a slot is free; return how many are (0 after the timeout).

        Raises:
            PoolClosed: the pool has been closed.
        """

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def spawn(
        self,
        fn: Callable[..., Any],
        *args: Any,
        done: Callable[[Call], None] | None = None,
        tag: Any = None,
    ) -> Call:
        """Start ``fn(*args)`` in a fresh context, waiting while the pool is full.

        An exception that `done` raises is printed like one in a thread and ends nothing else.

        Raises:
            PoolClosed: the pool has been closed, also while waiting for a slot.
        """

    def line_up(self, calls: int) -> None:
        """Let so many calls be spawned beyond `capacity`, to wait here for a slot.

        Where slots are far away, as in other processes, the next call begins then as soon as one has ended.
        Where a call begins at once there is nothing to gain, and nothing changes.
        """
        return

    def withdraw(self, call: Call) -> bool:
        """Take back a call that waits for a slot: its `done` is never called. False if it has begun."""
        return False

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Spawn, and return a future for the outcome.

        The future's own waiting blocks the calling thread: on a green pool only in a patched process is that
        a green wait; elsewhere use `add_done_callback`, or `spawn` with `done`.
        """
        # Here, because it imports threads and logging, which must not come before monkey-patching.
        from concurrent.futures import Future

        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def report(call: Call) -> None:
            if call.error is None:
                future.set_result(call.value)
            else:
                future.set_exception(call.error)

        self.spawn(fn, *args, done=report)
        return future

    @abstractmethod
    def interrupt(self, call: Call, exception: BaseException) -> bool:
        """Raise `exception` inside the running call; False if it has already ended or has not started.

        It can arrive late, never in another call.

        Raises:
            Unsupported: see `features`.
        """

    @abstractmethod
    def kill(self, call: Call) -> bool:
        """End the call with `Killed`; its slot is freed and `done` called once. False if it had ended.

        Raises:
            Unsupported: see `features`.
        """

    def abandon(self, call: Call) -> bool:
        """Report a call as ended with `Killed`, and free its slot, though its code may go on.

        For one that was killed and swallows that, again and again. Nobody looks at what it still does, nor
        waits for it. False if it had ended.

        Raises:
            Unsupported: the pool can't kill, see `features`.
        """
        # What no code can resist needs nothing more.
        return self.kill(call)

    # ── around the calls ─────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let others run for so long: the pool's own kind of sleep."""

    @abstractmethod
    def service(self, fn: Callable[[], None], name: str) -> Service:
        """Run a background duty beside the calls, outside `capacity`, so that a full pool never stops it."""

    @abstractmethod
    def native_call(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Run blocking code in a native thread and wait for it without blocking the pool's other calls."""

    @abstractmethod
    def bind(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a plain function that runs `fn` to its end inside a call of this pool.

        A coroutine function is run on an event loop that monkey-patching can't harm, its call waiting
        as the pool waits; on most pools an ordinary function is returned as it is.
        """

    @abstractmethod
    def calls(self) -> list[Call]:
        """The calls that are spawned and not finished, started or not: a cheap snapshot, from any thread."""

    def trim(self, memory: int) -> None:
        """Replace processes of the pool's own that have run something and have more than `memory` bytes.

        Each finishes the call that it runs. Pools without processes of their own have nothing to trim.
        """
        return

    @abstractmethod
    def watch(self) -> Watch:
        """What runs now, and when the pool last breathed. May be called from any native thread."""

    def breathed(self) -> float:
        """For how many seconds the pool has not run its own code, although asked to: 0.0 when all is well.

        It waits a moment for the answer, and is cheap enough to be asked several times a second. May be
        called from any native thread. A pool whose calls can't keep each other from running always answers.
        """
        return 0.0

    def blocking(self) -> Blocking | None:
        """What runs where the pool's own code should; None where nothing can block. See `breathed`."""
        return None

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def close(self, timeout: float | None = None) -> bool:
        """Take no more calls, wait up to `timeout` seconds for the running ones, then end the rest.

        What the pool can kill is killed, the rest is abandoned, and each is reported once through `done`
        (an abandoned call with `PoolClosed`). Closing twice is harmless.

        Returns:
            True if every call had ended by itself.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def now() -> float:
        """The clock that `Call.started` is read from, in seconds."""
        return time.monotonic()

    def _refuse_closed(self) -> None:
        raise PoolClosed(f"the {self.name} pool is closed and takes no more calls")
