"""An asyncio event loop that monkey-patching cannot harm.

It is asyncio's own selector event loop, run from private copies of its modules (see `pools.pristine`), with
native threads beneath `run_in_executor` and without child watchers, which would start (green) threads.
"""

from __future__ import annotations

import _thread
import asyncio.mixins
import concurrent.futures
import contextlib
import contextvars
import functools
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pools import exitcodes, native
from pools.crew import Crew, Work
from pools.loglocks import share_log_locks
from pools.pristine import event_loop_modules

__all__ = ["EventLoop", "new_event_loop"]

EXECUTOR_THREADS = 32
"""How many native threads `asyncio.to_thread` and `getaddrinfo` use at most, in each event loop."""

HUB_PATIENCE = 2.0
"""Seconds to wait for gevent's hub, which may be blocked, where child processes concern it."""

if TYPE_CHECKING:
    from asyncio import SelectorEventLoop as Base

    unix_events: Any
    posix: Any
else:
    _modules = event_loop_modules()
    unix_events = _modules["asyncio.unix_events"]
    posix = _modules["os"]
    Base = unix_events.SelectorEventLoop

# The lock is held for two instructions by whoever first uses an asyncio lock or queue, in any thread.
# A green one would bring hubs into it.
asyncio.mixins._global_lock = native.original("_thread", "allocate_lock")()

share_log_locks()  # coroutines log from the loop's thread


class EventLoop(Base):
    """The event loop; made by `new_event_loop`, used in one native thread."""

    def __init__(self) -> None:
        super().__init__()
        _settle_gevent()
        self._crew = Crew(EXECUTOR_THREADS, "asyncio-executor")
        self._stand_ins: WeakKeyDictionary[concurrent.futures.Executor, Crew] = WeakKeyDictionary()

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Run blocking code in a native thread.

        Parameters:
            executor: None for the loop's own threads. In place of a `ThreadPoolExecutor` of a patched
                process, whose threads are green and would need a hub here, as many native threads are used.
        """
        crew = self._crew_for(executor)
        if crew is None:
            return super().run_in_executor(executor, func, *args)
        self._check_closed()  # type: ignore[attr-defined]
        return self.call_in_crew(crew, func, *args)[0]

    def call_in_crew(
        self, crew: Crew, func: Callable[..., Any], *args: Any, context: Any = None
    ) -> tuple[asyncio.Future[Any], Work]:
        """Run `func` in a thread of `crew`; return the future of its outcome, and the work itself."""
        future = self.create_future()

        def done(value: Any, error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                self.call_soon_threadsafe(_settle, future, value, error)

        work = Work(func, args, context or contextvars.Context(), done)
        future.add_done_callback(functools.partial(_cancel_work, work))
        crew.submit(work)
        return future, work

    def _crew_for(self, executor: Any) -> Crew | None:
        if executor is None:
            return self._crew if self._default_executor is None else None  # type: ignore[attr-defined]
        if isinstance(executor, concurrent.futures.ThreadPoolExecutor) and _threads_are_green():
            if executor not in self._stand_ins:
                self._stand_ins[executor] = Crew(executor._max_workers, "asyncio-executor")
            return self._stand_ins[executor]
        return None

    async def _make_subprocess_transport(
        self,
        protocol: Any,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: Any = None,
        **kwargs: Any,
    ) -> Any:
        heard = self.create_future()
        if exitcodes.listen(lambda: self.call_soon_threadsafe(_settle, heard, None, None)):
            await asyncio.wait([heard], timeout=HUB_PATIENCE)
        waiter = self.create_future()
        since = time.monotonic()
        transport = unix_events._UnixSubprocessTransport(
            self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
        )
        self._watch_child(transport, since)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _watch_child(self, transport: Any, since: float) -> None:
        """Report the child's end: its descriptor becomes readable then; without one, a thread waits."""
        pid = transport.get_pid()
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended, and something else has waited for it
            self.call_soon(self._child_ended, transport, since)
        except (AttributeError, OSError):

            def wait() -> None:
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
                with contextlib.suppress(RuntimeError):
                    self.call_soon_threadsafe(self._child_ended, transport, since)

            native.start(wait, f"asyncio-waitid-{pid}")
        else:
            self._add_reader(descriptor, self._child_exited, descriptor, transport, since)  # type: ignore[attr-defined]

    def _child_exited(self, descriptor: int, transport: Any, since: float) -> None:
        self._remove_reader(descriptor)  # type: ignore[attr-defined]
        posix.close(descriptor)
        self._child_ended(transport, since)

    def _child_ended(self, transport: Any, since: float, patience: float = HUB_PATIENCE) -> None:
        exitcode = exitcodes.exit_code(transport.get_pid(), since)
        if exitcode is None and patience > 0:
            self.call_later(0.02, self._child_ended, transport, since, patience - 0.02)
            return
        if exitcode is None:
            exitcode = 255
            warnings.warn(
                f"the exit code of process {transport.get_pid()} is lost: something else waited for it",
                RuntimeWarning,
                stacklevel=2,
            )
        transport._process_exited(exitcode)


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):
        stopped = RuntimeError("the function raised StopIteration, which cannot leave a coroutine")
        stopped.__cause__ = error
        future.set_exception(stopped)
    else:
        future.set_exception(error)


def _cancel_work(work: Work, future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        work.cancelled = True


def _settle_gevent() -> None:
    """Let gevent look up its parts now.

    It would do so when a native thread first runs green code, with an import; importing in two threads at
    once waits for a green lock, which needs a hub in that thread, which needs the same import.
    """
    gevent = sys.modules.get("gevent")
    if gevent is not None and hasattr(gevent, "config"):
        for part in ("loop", "resolver", "threadpool", "format_context", "libev_backend"):
            getattr(gevent.config, part)


def _threads_are_green() -> bool:
    return native.original("_thread", "start_new_thread") is not _thread.start_new_thread


def new_event_loop() -> EventLoop:
    """Make an event loop, in any thread; run it in a native one."""
    return EventLoop()
