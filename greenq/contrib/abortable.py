"""Tasks that whoever called them can ask to stop, as ``celery.contrib.abortable`` has them.

    >>> from greenq import GreenQ
    >>> from greenq.contrib.abortable import AbortableTask
    >>> app = GreenQ("shop", broker="memory://abortable", results="memory://abortable")
    >>> @app.task(bind=True, base=AbortableTask)
    ... def sweep(self, rooms):
    ...     for room in rooms:
    ...         if self.is_aborted():
    ...             return "not all of it"
    >>> sweep.delay(["hall"]).is_aborted()
    False

Nothing is ended by force: the task asks now and then, which is one look into the result store. The wish is
the state ABORTED there, and a record of its own that no later state replaces. An abort of a task that has
ended changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, Unpack

from greenq.asyncresult import AsyncResult
from greenq.errors import ResultStoreError
from greenq.message import READY_STATES, Result
from greenq.options import CallOptions
from greenq.task import Task

__all__ = ["ABORTED", "AbortableAsyncResult", "AbortableTask"]

P = ParamSpec("P")
R = TypeVar("R")

ABORTED = "ABORTED"
"""The state of a task that was asked to stop and has not ended yet."""


class AbortableAsyncResult(AsyncResult[R]):
    """The result of an `AbortableTask`."""

    def is_aborted(self) -> bool:
        """Whether the task was asked to stop, and has not ended.

        Raises:
            ResultStoreError: the store fails.
        """
        store = self._store()
        assert self._source is not None
        found = store.get((self.id, self._wish), self._source.result_timeout)
        known = found.get(self.id)
        if known is not None and known.state in READY_STATES:
            return False
        return self._wish in found or (known is not None and known.state == ABORTED)

    def abort(self) -> None:
        """Ask the task to stop; one that has ended stays as it is.

        Raises:
            ResultStoreError: no results are kept that the task could see, or the store fails.
        """
        store = self._store()
        assert self._source is not None
        if store.reply_to is not None:
            raise ResultStoreError(
                f"task {self.id} cannot be aborted: results are sent to the caller and not kept; set "
                "results.url to a store that the worker can read, such as Redis, a database or sqlite"
            )
        # The state is what Celery's workers look at, but it is gone with the next one that the task stores.
        wishes = [Result(id, ABORTED, expires=self._source.result_expires) for id in (self.id, self._wish)]
        for wish in wishes:
            store.encode(wish)
        store.put(wishes, self._source.result_timeout)

    def forget(self) -> None:
        """Drop the stored result and the wish; see `AsyncResult.forget`."""
        super().forget()
        self._store().forget((self._wish,))

    @property
    def _wish(self) -> str:
        """Where the wish is kept beside the state."""
        return f"{self.id}.aborted"


class AbortableTask(Task[P, R]):
    """A task that looks now and then whether it should stop: ``base=AbortableTask``, and `is_aborted`."""

    def AsyncResult(self, task_id: str) -> AbortableAsyncResult[R]:
        """The result of a call of this task, by its id."""
        return AbortableAsyncResult(task_id, self.app)

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Send it with these arguments; see `Task.delay`.

        Returns:
            An `AbortableAsyncResult`.
        """
        return self._abortable(super().delay(*args, **kwargs))

    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Send it with options; see `Task.apply_async`.

        Returns:
            An `AbortableAsyncResult`.
        """
        return self._abortable(super().apply_async(args, kwargs, **options))

    def is_aborted(self, task_id: str | None = None) -> bool:
        """Whether the running task, or the one with this id, was asked to stop.

        Raises:
            ResultStoreError: the store fails.
        """
        request = self.request
        if task_id is None and (request.is_eager or request.called_directly or self.app.results is None):
            return False
        return self.AsyncResult(task_id or request.id).is_aborted()

    def _abortable(self, sent: Any) -> Any:
        if type(sent) is not AsyncResult:
            return sent  # it has run here and now
        return AbortableAsyncResult(sent.id, self.app, sent.parent, sent.ignored)
