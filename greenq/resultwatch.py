"""What is done besides while a result is waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenq.failures import rebuild
from greenq.message import EXCEPTION_STATES, READY_STATES, Result

__all__ = ["WAIT_CHUNK", "Watch", "meta_of"]

WAIT_CHUNK = 30.0
"""Seconds that one wait on the store may take; only how often an endless `get` looks again."""
PARENT_CHUNK = 2.0
"""The same where a result before it may fail, which nothing tells."""


class Watch:
    """Looks at other things while a result is waited for.

    Parameters:
        interval: seconds between two looks.
        parents: raise what those before it have raised.
    """

    def __init__(
        self,
        result: Any,
        interval: float | None,
        parents: bool,
        on_message: Callable[[dict[str, Any]], Any] | None,
        on_interval: Callable[[], Any] | None,
    ) -> None:
        self._result = result
        self._parent = result.parent if parents else None
        self._on_message, self._on_interval = on_message, on_interval
        self._told: Any = None
        self.chunk = WAIT_CHUNK if self._parent is None else PARENT_CHUNK
        if on_message is not None or on_interval is not None:
            self.chunk = 0.5 if interval is None else interval

    def look(self) -> None:
        """Look once, before the next wait."""
        parent = self._parent
        while parent is not None:
            parent.maybe_throw()
            parent = parent.parent
        if self._on_interval is not None:
            self._on_interval()
        if self._on_message is not None:
            record = self._result._record()
            if record is not None and record.state not in READY_STATES:
                self.ended(record)

    def ended(self, record: Result | None) -> None:
        """Tell of a state that is stored."""
        if self._on_message is None or record is None:
            return
        told = (record.state, record.value)
        if told != self._told:
            self._told = told
            self._on_message(meta_of(record))


def meta_of(record: Result) -> dict[str, Any]:
    """A record in Celery's keys."""
    value = record.value
    if record.state in EXCEPTION_STATES and not isinstance(value, BaseException):
        value = rebuild(value, record.traceback)
    return {
        "task_id": record.id, "status": record.state, "result": value, "traceback": record.traceback,
        "children": record.children, "date_done": record.date_done, **record.extra,
    }  # fmt: skip
