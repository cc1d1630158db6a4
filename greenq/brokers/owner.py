"""A native thread that owns one connection to a library which blocks: others hand it their calls.

Green threads wait for it as green threads do, plain ones as plain ones do, and the library never stops a hub.
"""

from __future__ import annotations

import _queue
import os
import time
from collections.abc import Callable
from typing import Any

from pools import native

__all__ = ["Late", "Owner"]


class Late(Exception):
    """The owner did not carry out a call in time.

    Parameters:
        begun: whether it had begun, so that it may have had its effect.
    """

    def __init__(self, begun: bool) -> None:
        self.begun = begun
        super().__init__("the call had begun" if begun else "the call had not begun")


def _nothing() -> None:
    return None


class _Call:
    __slots__ = ("begun", "dropped", "ended", "error", "fn", "lock", "undo", "value")

    def __init__(self, fn: Callable[[], Any], undo: Callable[[Any], object] | None) -> None:
        self.fn = fn
        self.undo = undo
        self.lock = native.Lock()
        self.begun = False
        self.dropped = False
        self.ended = native.Signal()
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        with self.lock:
            if self.dropped:
                return
            self.begun = True
        try:
            self.value = self.fn()
        except BaseException as error:
            self.error = error
        self.fn = _nothing
        with self.lock:
            self.ended.set()
            unwanted = self.dropped and self.error is None
        if unwanted and self.undo is not None:
            self.undo(self.value)

    def drop(self) -> bool:
        """Want it no more; False if it has ended already."""
        with self.lock:
            if not self.ended.is_set:
                self.dropped = True
            if self.dropped and not self.begun:
                # It stays in line for as long as the owner is stuck; what it was to send need not.
                self.fn, self.undo = _nothing, None
            return self.dropped


class Owner:
    """Runs calls one after the other in one native thread, which starts at the first of them.

    Parameters:
        name: of the thread, for people.
        reset: called in a forked child before its first call: what the parent had open is not the child's.
    """

    def __init__(self, name: str, reset: Callable[[], object]) -> None:
        self._name = name
        self._reset = reset
        self._lock = native.Lock()
        self._calls: _queue.SimpleQueue[_Call | None] = _queue.SimpleQueue()
        self._thread: native.NativeThread | None = None
        self._pid = os.getpid()

    def here(self) -> bool:
        """Whether the calling thread is the owner's."""
        return self._thread is not None and self._thread.ident == native.get_ident()

    def call(self, fn: Callable[[], Any], timeout: float, undo: Callable[[Any], object] | None = None) -> Any:
        """Have `fn` run by the owner and return what it returns.

        Parameters:
            timeout: seconds.
            undo: given what `fn` returned, by the owner, if nobody waits for it any more.

        Raises:
            Late: it did not end in time.
        """
        if self.here():
            return fn()
        deadline = time.monotonic() + timeout
        call = _Call(fn, undo)
        self._running().put(call)
        try:
            done = call.ended.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:
            if not call.drop() and undo is not None and call.error is None:
                value = call.value
                self._running().put(_Call(lambda: undo(value), None))
            raise
        if not done and call.drop():
            raise Late(call.begun)
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call
        return call.value

    def close(self, timeout: float) -> bool:
        """Let the thread end after what was handed in; True if it did so in `timeout` seconds."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None or self._pid != os.getpid():
                return True
            self._calls.put(None)
        return thread.join(timeout)

    def _running(self) -> _queue.SimpleQueue[_Call | None]:
        if self._pid != os.getpid():
            # The thread, and whoever held the lock, stayed in the parent.
            self._lock = native.Lock()
            self._pid = os.getpid()
            self._thread = None
            self._calls = _queue.SimpleQueue()
            self._reset()
        with self._lock:
            if self._thread is None:
                self._calls = _queue.SimpleQueue()
                calls = self._calls
                self._thread = native.start(lambda: _work(calls), self._name)
            return self._calls


def _work(calls: _queue.SimpleQueue[_Call | None]) -> None:
    while (call := calls.get()) is not None:
        call.run()
        del call  # or its arguments and value would live until the next one comes
