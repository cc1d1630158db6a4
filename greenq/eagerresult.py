"""The result of a call that ran where it was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from greenq.asyncresult import AsyncResult
from greenq.errors import TaskRevoked
from greenq.joining import refuse_in_task
from greenq.message import REVOKED, Result
from greenq.resultwatch import meta_of

__all__ = ["EagerResult"]

T = TypeVar("T")


class EagerResult(AsyncResult[T]):
    """The result of a call that ran where it was made (`Task.apply`).

    Parameters:
        value: what it returned, or its exception.
        state: SUCCESS, FAILURE, REJECTED or IGNORED.
        traceback: of the exception, as text.
    """

    def __init__(
        self, id: str, value: Any, state: str, traceback: str | None = None, children: Sequence[Any] = ()
    ) -> None:
        super().__init__(id, None)
        self._value = value
        self._state = state
        self._traceback = traceback
        self._children = list(children)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, T], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> T:
        """Return what the task returned; nothing is waited for, see `AsyncResult.get`."""
        if disable_sync_subtasks:
            refuse_in_task()
        value = self._end(propagate)
        if callback is not None:
            callback(self.id, value)
        return value

    def then(
        self,
        callback: Callable[[AsyncResult[T]], Any],
        on_error: Callable[[AsyncResult[T]], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult[T]:
        """Call a function with it now; see `AsyncResult.then`."""
        (callback if on_error is None or self.successful() else on_error)(self)
        return self

    def exists(self) -> bool:
        """True: it is here."""
        return True

    @property
    def state(self) -> str:
        """How it ended."""
        return self._state

    @property
    def result(self) -> Any:
        """What it returned, or its exception itself."""
        return self._value

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed task, as text."""
        return self._traceback

    @property
    def date_done(self) -> datetime | None:
        """Not kept for eager calls."""
        return None

    @property
    def children(self) -> list[Any]:
        """The results of the tasks that it sent."""
        return self._children

    def _is_known(self) -> bool:
        return True

    def _meta(self) -> dict[str, Any]:
        return meta_of(Result(self.id, self._state, self._value, self._traceback, self._children))

    def ready(self) -> bool:
        """True: it ran before this object was made."""
        return True

    def forget(self) -> None:
        """Nothing is stored, so nothing is dropped."""

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Replace the outcome by `TaskRevoked`, as Celery does for eager results; nothing is undone."""
        self._state, self._value, self._traceback = REVOKED, TaskRevoked("revoked"), None
