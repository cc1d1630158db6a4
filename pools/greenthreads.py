"""Reused green threads: what the gevent and eventlet pools have in common.

Spawned calls go to a deque. One callback in the hub takes an idle green thread, which runs call after call
itself until one of them has blocked; so a burst of short calls costs no switch each. A green thread is a raw
greenlet, and is reused only while nothing of a call is left on it:

- Each call runs in a fresh copy of the context in which the pool was made.
- A green `threading.local` leaves a weak reference to the greenlet, an uncancelled timeout a strong one.
  Both are counted after each call. A green thread that is not back at its first counts is retired: the pool
  drops it. If nothing else refers to it, it ends at once; otherwise it waits for what is still to come
  (the late timeout), swallows it and ends.
- An interrupt is delivered in the hub, where no green thread can run, and only while its green thread still
  runs the very call that is meant.

The counts depend on who resumed the green thread, so after a call that blocked they are taken in the hub,
while it is suspended.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from sys import getrefcount
from typing import Any
from weakref import getweakrefcount

from greenlet import getcurrent, greenlet

from pools.base import Call, Pool
from pools.greenhub import GreenWaiter, Hub, OutsideWaiter
from pools.reporting import complain

__all__ = ["GreenThreads"]

SLICE = 0.010
"""Seconds that calls may run on end before the hub looks at its sockets and timers."""

KEEP = 64
"""Idle green threads beyond these that were not needed for a second are let go, half of them each second."""


class GreenThreads(Pool):
    """The part of a green pool that runs calls.

    Parameters:
        hub: that of the calling native thread.
    """

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None, hub: Hub) -> None:
        super().__init__(capacity, setup)
        self._hub = hub
        self._park = hub.park
        self._soon = hub.soon
        self._calls: set[Call] = set()
        """Spawned and not finished."""
        self._pending: deque[Call] = deque()
        """To be begun; and those killed before that, which are finished and only to be reported."""
        self._waiters: deque[GreenWaiter | OutsideWaiter] = deque()
        """For a free slot."""
        self._enders: deque[GreenWaiter] = deque()
        """For the end of all calls."""
        self._closed = False
        self._threads: set[greenlet] = set()
        self._idle: list[greenlet] = []
        self._back: list[greenlet] = []
        """Suspended, and to be examined before they may be idle."""
        self._clean = -1
        self._scheduled = False
        self._resting = False
        self._turn = 0
        """How often the hub got control back from a green thread; a call that sees it change has blocked."""
        self._until = 0.0
        self._trimming = False
        self._spare = 0
        """How many idle green threads nobody has needed since it was last looked at."""
        self._context = contextvars.copy_context()

    def _wake(self) -> None:
        """Wake one waiter for each free slot, or all of them when there will be no more slots."""
        waiters, free = self._waiters, self._capacity - len(self._calls)
        for _ in range(len(waiters) if self._closed else min(free, len(waiters))):
            waiters.popleft().wake()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._serve)

    def _serve(self) -> None:
        """In the hub: examine the green threads that came back, then let idle ones run what is pending."""
        self._scheduled = False
        if self._resting:
            return
        try:
            if self._back:
                self._examine()
            elif self._clean < 0:
                self._measure()
            idle, pending = self._idle, self._pending
            self._until = time.monotonic() + SLICE
            while pending:
                (idle.pop() if idle else self._hire()).switch(self)
                self._turn += 1
                if time.monotonic() > self._until:
                    break
        finally:
            if self._pending:
                # Not with `soon`: gevent makes many such calls in a row before it looks at anything else.
                self._resting = True
                self._hub.later(0, self._go_on, keep_alive=True)
        self._spare = min(self._spare, len(idle))
        if len(idle) > KEEP and not self._trimming:
            self._trimming = True
            self._spare = len(idle)
            self._hub.later(1.0, self._trim, keep_alive=False)
        while self._enders:
            self._enders.popleft().wake()

    def _go_on(self) -> None:
        self._resting = False
        self._serve()

    def _live(self, token: object) -> None:
        """The life of a green thread: run what is pending, wait to be taken again, and so on.

        Only `_serve` switches to it with the pool for a token; whatever else wakes it was meant for a call
        that has ended.
        """
        while True:
            if token is self:
                if self._drain():
                    self._idle.append(getcurrent())
                else:
                    self._back.append(getcurrent())
                    self._schedule()
            try:
                token = self._park()
            except BaseException:
                return  # a timeout of a past call, or the end of a green thread that nobody refers to

    def _drain(self) -> bool:
        """Run pending calls; False once one has blocked or left something behind.

        When a call ends, first its slot is free, then it is reported.
        """
        me = getcurrent()
        pending, waiters, running, copy = self._pending, self._waiters, self._calls, self._context.copy
        forget = running.discard
        strong, turn, clock = getrefcount(me), self._turn, time.monotonic
        while pending:
            call = pending.popleft()
            call.place = me
            if not call.finished:
                value = None
                call.started = clock()
                try:
                    value = copy().run(call.fn, *call.args)
                except BaseException as error:
                    if not call.finished:
                        _fail(call, error)
                if call.finished:  # abandoned when the pool closed, and reported then
                    call.place = None
                    return False
                call.value = value
                call.finished = True
                forget(call)
                if waiters:
                    if len(waiters) == 1 and not self._closed and len(running) < self._capacity:
                        waiters.popleft().wake()  # as `_wake` does, nearly always, and without a call
                    else:
                        self._wake()
            if call.done is not None:
                try:
                    call.done(call)
                except BaseException:
                    complain()
            call.place = None
            if self._turn != turn:
                return False
            if (getweakrefcount(me) or me.__dict__) and not _wipe(me):
                return False
            if getrefcount(me) != strong:
                return False
            if call.started > self._until:
                return True
        return True

    # ── who may be reused ────────────────────────────────────────────────────────────────────────────────

    def _hire(self) -> greenlet:
        thread = greenlet(self._live, self._hub.root())
        self._threads.add(thread)
        return thread

    def _measure(self) -> None:
        """Count the references to a green thread that has run nothing yet."""
        for thread in [self._hire()]:
            thread.switch(None)
            self._clean = getrefcount(thread)
        self._idle.append(thread)

    def _examine(self) -> None:
        """In the hub: keep the green threads on which nothing is left, drop the others."""
        back, self._back = self._back, []
        for thread in back:
            if self._is_kept(thread) and _wipe(thread) and getrefcount(thread) == self._clean:
                self._idle.append(thread)
            else:
                self._threads.discard(thread)

    def _is_kept(self, thread: greenlet) -> bool:
        return not thread.dead and not self._closed and thread in self._threads

    def _trim(self) -> None:
        """Let go of half of the idle green threads that a burst has left, and none that waves need again."""
        excess = (self._spare - KEEP + 1) // 2
        if excess > 0:
            self._threads.difference_update(self._idle[:excess])
            del self._idle[:excess]
        self._spare = len(self._idle)
        self._trimming = self._spare > KEEP
        if self._trimming:
            self._hub.later(1.0, self._trim, keep_alive=False)


def _fail(call: Call, error: BaseException) -> None:
    """Keep the error without the pool's own frame, which would keep alive what it holds later on."""
    trace = error.__traceback__
    error.__traceback__ = trace and trace.tb_next
    call.error = error


def _wipe(thread: greenlet) -> bool:
    """Remove what may be removed of a call from its green thread; False if weak references are left.

    That is its attributes, and its entry among the threads: logging makes one for each green thread of a
    patched process.
    """
    thread.__dict__.clear()
    dummies: dict[int, Any] = threading._active  # type: ignore[attr-defined]
    dummies.pop(id(thread), None)
    return not getweakrefcount(thread)
