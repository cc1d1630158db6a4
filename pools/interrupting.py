"""Raise an exception in a call that runs in a native thread, and never in what that thread does next.

The interpreter raises it when the thread next runs Python code: a call that sleeps or reads a socket is
interrupted only when that returns.
"""

from __future__ import annotations

import contextvars
import sys
import time
from _thread import LockType
from types import FrameType
from typing import Any

from pools import asyncexc, native
from pools.base import Call

__all__ = ["Place", "frame_of", "interrupt", "run"]


class Place:
    """Where a call runs.

    Attributes:
        ident: the native thread's.
        interrupted: whether an exception has been set that may not have been raised yet.
    """

    __slots__ = ("ident", "interrupted")

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.interrupted = False


def run(call: Call, context: contextvars.Context, lock: LockType) -> tuple[Any, BaseException | None]:
    """Run the call in the calling thread, open to `interrupt` meanwhile; return its value and its error.

    Parameters:
        context: what it runs in.
        lock: the one that is given to `interrupt` too.
    """
    value: Any = None
    failure: BaseException | None = None
    place = Place(native.original("_thread", "get_ident")())
    try:
        try:
            call.started = time.monotonic()
            call.place = place
            value = context.run(call.fn, *call.args)
        except BaseException as error:
            failure = error
    except BaseException as error:  # a second interrupt, in the line above
        failure = error
    while True:
        try:
            with lock:
                call.place = None
                if place.interrupted:
                    asyncexc.clear(place.ident)
            break
        except BaseException:
            continue  # an interrupt that came late: the call has ended
    if failure is not None:
        trace = failure.__traceback__
        failure.__traceback__ = trace and trace.tb_next
    return value, failure


def interrupt(call: Call, exception: BaseException, lock: LockType) -> bool:
    """Have `exception` raised in the call; False if it does not run.

    Called by the call itself, it raises at once.
    """
    with lock:
        place: Place | None = call.place
        if place is None or call.finished:
            return False
        mine = place.ident == native.original("_thread", "get_ident")()
        if not mine:
            place.interrupted = True
            asyncexc.set_pending(place.ident, _carrier(exception))
    if mine:
        raise exception
    return True


def frame_of(call: Call) -> FrameType | None:
    """The innermost frame of a running call, or None."""
    place: Place | None = call.place
    return None if place is None else sys._current_frames().get(place.ident)


def _carrier(exception: BaseException) -> type[BaseException]:
    """A class for the interpreter, which takes only classes, to make an instance of: it gets this one."""

    class Carrier(BaseException):
        def __new__(cls, *_: Any) -> Any:  # called again, with the instance, where an error is passed on
            return exception

    return Carrier
