"""The solo pool: each call runs inside `spawn`, one at a time. For debugging, and for one job at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from pools.base import Call, Features
from pools.errors import PoolError, Unsupported
from pools.threadcalls import ThreadCalls

__all__ = ["SoloPool"]


class SoloPool(ThreadCalls):
    """Runs each call in the thread that spawns it; `spawn` returns when it has ended and is reported."""

    name: ClassVar[str] = "solo"
    features: ClassVar[Features] = Features(
        interrupt=True,
        kill=False,
        why_no_kill="it runs in the thread that spawned it; gevent, eventlet and prefork can kill calls",
    )
    _own_files: ClassVar[tuple[str, ...]] = (*ThreadCalls._own_files, __file__)

    @classmethod
    def usual_capacity(cls) -> int:
        return 1  # it runs one call at a time

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        _refuse_more(capacity)
        super().__init__(capacity, setup)
        self._thread = 0
        """The native thread that is running a call."""

    def resize(self, capacity: int) -> None:
        _refuse_more(capacity)
        super().resize(capacity)

    def spawn(
        self,
        fn: Callable[..., Any],
        *args: Any,
        done: Callable[[Call], None] | None = None,
        tag: Any = None,
    ) -> Call:
        call = Call(fn, args, done, tag)
        me = threading.get_ident()
        with self._changed:
            if self._calls and self._thread == me:
                raise PoolError(
                    "a call in the solo pool cannot spawn another: it would wait for itself. "
                    "Spawn it when this one is done, or use the threads pool"
                )
            self._enter(call)
            self._thread = me
        self._run(call)
        return call


def _refuse_more(capacity: int) -> None:
    if capacity > 1:
        raise Unsupported(
            f"the solo pool runs one call at a time: its capacity is 1 and cannot be {capacity}; "
            f"for more at once use threads, gevent or prefork"
        )
