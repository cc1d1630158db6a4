"""The threads pool: native threads, reused."""

from __future__ import annotations

import _queue
import ctypes
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar

from pools.base import Call, Features
from pools.errors import PoolError
from pools.threadcalls import ThreadCalls

__all__ = ["ThreadPool"]

IDLE = 10.0
"""Seconds after which a thread without a call ends."""

_get_state = ctypes.pythonapi.PyThreadState_GetDict
_get_state.argtypes = []
_get_state.restype = ctypes.c_void_p  # a borrowed reference, which py_object would take for a new one


class ThreadPool(ThreadCalls):
    """Runs each call in a native thread.

    Threads are reused, and nothing of a call is left for the next: each runs in a fresh copy of the context
    in which the pool was made, and what it put into a `threading.local` goes away with it.
    """

    name: ClassVar[str] = "threads"
    features: ClassVar[Features] = Features(
        interrupt=True,
        kill=False,
        why_no_kill="Python cannot end a thread from outside; gevent, eventlet and prefork can kill calls",
    )
    _own_files: ClassVar[tuple[str, ...]] = (*ThreadCalls._own_files, __file__)

    @classmethod
    def usual_capacity(cls) -> int:
        return 20  # enough for calls that wait, few enough for the memory that threads take

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        super().__init__(capacity, setup)
        self._queue: _queue.SimpleQueue[Call | None] = _queue.SimpleQueue()
        self._idle = 0
        """Threads that nobody has put a call into the queue for."""
        self._numbers = count(1)

    def spawn(
        self,
        fn: Callable[..., Any],
        *args: Any,
        done: Callable[[Call], None] | None = None,
        tag: Any = None,
    ) -> Call:
        call = Call(fn, args, done, tag)
        with self._changed:
            self._enter(call)
            more = self._idle == 0
            self._idle -= not more
        if more:
            self._start_thread(call)
        self._queue.put(call)
        return call

    def _start_thread(self, call: Call) -> None:
        """Start a thread for the call; give back its slot if the system allows no more threads."""
        try:
            name = f"{self.name}-{next(self._numbers)}"
            threading.Thread(target=self._live, name=name, daemon=True).start()
        except RuntimeError as error:
            with self._changed:
                self._calls.discard(call)
                self._changed.notify_all()
            raise PoolError(
                f"the system allows no more threads than the {threading.active_count()} of this process "
                f"({error}): lower the pool's capacity, or raise the limit (ulimit -u)"
            ) from error

    def close(self, timeout: float | None = None) -> bool:
        unforced = super().close(timeout)
        with self._changed:
            idle, self._idle = self._idle, 0
        for _ in range(idle):
            self._queue.put(None)
        return unforced

    def _live(self) -> None:
        """The life of a thread: run a call, wait for another, end when there is none for long."""
        state: dict[Any, Any] = ctypes.cast(_get_state(), ctypes.py_object).value
        while (call := self._next()) is not None:
            self._run(call)
            del call  # or an idle thread would keep the last call's arguments and result
            _wipe(state)
            with self._changed:
                if self._closed:
                    return
                self._idle += 1

    def _next(self) -> Call | None:
        while True:
            try:
                return self._queue.get(timeout=IDLE)
            except _queue.Empty:
                with self._changed:
                    if self._idle > 0:
                        self._idle -= 1
                        return None


def _wipe(state: dict[Any, Any]) -> None:
    """Remove from the thread's own dictionary every value that it has in a `threading.local`."""
    for key in [key for key in state if isinstance(key, str) and key.startswith("thread.local.")]:
        del state[key]
