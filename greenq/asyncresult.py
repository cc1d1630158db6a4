"""The result of a call that was sent: ask for it, wait for it, drop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from greenq.errors import ResultStoreError, ResultTimeout
from greenq.failures import rebuild
from greenq.joining import refuse_in_task
from greenq.message import EXCEPTION_STATES, FAILURE, PENDING, READY_STATES, REVOKED, SUCCESS, Result
from greenq.results.base import ResultStore
from greenq.resulttree import ResultTree
from greenq.resultwatch import WAIT_CHUNK, Watch, meta_of

__all__ = ["WAIT_CHUNK", "AsyncResult", "Source"]

T = TypeVar("T")


class Source(Protocol):
    """Where results are kept: the application."""

    @property
    def results(self) -> ResultStore | None:
        """The result store, None if no results are kept."""

    @property
    def result_timeout(self) -> float:
        """Seconds that a call to the store may take."""

    @property
    def result_expires(self) -> float | None:
        """Seconds that results are kept; None for ever."""

    @property
    def control(self) -> Any:
        """What tells workers."""

    def result_from_tuple(self, entry: Any) -> Any:
        """The result that a stored record names."""


class AsyncResult(ResultTree, Generic[T]):
    """A call's result, wherever and whenever it runs.

    Parameters:
        id: the task's id.
        source: the application whose store has the result.
        parent: the result of the call before it in a chain.
        ignored: the call stores no result; `get` returns None at once.
    """

    def __init__(self, id: str, source: Source | None, parent: Any = None, ignored: bool = False) -> None:
        if not isinstance(id, str) or not id:
            raise ValueError(f"a result's id must be a string that is not empty, not {id!r}")
        self.id = id
        self.parent = parent
        self.ignored = ignored
        self._source = source
        self._ended: Result | None = None
        self._callbacks: list[Callable[[AsyncResult[T]], Any]] | None = None

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────

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
        """Wait for the task's end and return what it returned.

        Parameters:
            timeout: seconds; None waits for ever.
            propagate: raise the task's exception; otherwise return it.
            interval: seconds between two calls of `on_interval` and two looks for `on_message`; the end
                itself is told by the store.
            no_ack: allowed for Celery's sake and without effect.
            follow_parents: raise the exception of a task before it in the chain, too.
            callback: called with the id and the value.
            on_message: called with each state that is stored meanwhile, as a record in Celery's keys.
            on_interval: called again and again while it waits.
            disable_sync_subtasks: refuse to wait inside a task, where it can deadlock the worker.

        Raises:
            ResultTimeout: it took longer than `timeout`.
            ResultStoreError: no results are kept, or the store fails.
            RuntimeError: called inside a task.
        """
        if disable_sync_subtasks:
            refuse_in_task()
        if self.ignored:
            return None  # type: ignore[return-value]
        deadline = None if timeout is None else time.monotonic() + timeout
        watch = Watch(self, interval, follow_parents and propagate, on_message, on_interval)
        self._wait(deadline, timeout, watch)
        value = self._end(propagate)
        if callback is not None:
            callback(self.id, value)
        return value

    def _wait(self, deadline: float | None, timeout: float | None, watch: Watch) -> None:
        while self._ended is None:
            watch.look()
            left = watch.chunk if deadline is None else min(watch.chunk, deadline - time.monotonic())
            ended = self._store().wait((self.id,), max(0.0, left))
            if self.id in ended:
                self._settle(ended[self.id])
            elif deadline is not None and time.monotonic() >= deadline:
                raise ResultTimeout(
                    f"task {self.id} did not end within {timeout:g} s; it may still be running"
                )
        watch.ended(self._ended)

    def _settle(self, record: Result) -> None:
        """Learn how it ended."""
        self._ended = record
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)

    def then(
        self,
        callback: Callable[[AsyncResult[T]], Any],
        on_error: Callable[[AsyncResult[T]], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult[T]:
        """Call a function with this result as soon as this object learns of its end: while it, or a group
        that it is in, is waited for or asked; at once if it is known already.

        Parameters:
            on_error: called instead of `callback` if the task did not succeed.
            weak: allowed for Celery's sake and without effect.
        """

        def told(result: AsyncResult[T]) -> None:
            (callback if on_error is None or result.successful() else on_error)(result)

        if self._ended is not None:
            told(self)
        else:
            self._callbacks = [*(self._callbacks or ()), told]
        return self

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise the task's exception if it has failed; otherwise return what is known.

        Parameters:
            propagate: False returns the exception.
            callback: called with the id and the value.
        """
        failed = self.state in (FAILURE, REVOKED)  # asked first: it may end in between
        value = self.result
        if propagate and failed:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def _end(self, propagate: bool) -> T:
        value = self.result
        if propagate and self.state in (FAILURE, REVOKED):
            raise value
        return value  # type: ignore[no-any-return]

    def wait(self, timeout: float | None = None, propagate: bool = True) -> T:
        """The same as `get`."""
        return self.get(timeout, propagate)

    def _leaves(self) -> Iterator[AsyncResult[Any]]:
        yield self

    def _outcome(self, propagate: bool) -> Any:
        return None if self.ignored else self._end(propagate)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> str:
        """PENDING (also: unknown), RECEIVED, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or a task's own."""
        record = self._record()
        return PENDING if record is None else record.state

    @property
    def status(self) -> str:
        """The same as `state`."""
        return self.state

    @property
    def result(self) -> Any:
        """What the task returned; its exception if it failed; what `update_state` said while it runs."""
        record = self._record()
        if record is None:
            return None
        if record.state in EXCEPTION_STATES:
            return rebuild(record.value, record.traceback)
        return record.value

    @property
    def info(self) -> Any:
        """The same as `result`."""
        return self.result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed task, as text."""
        record = self._record()
        return None if record is None else record.traceback

    @property
    def date_done(self) -> datetime | None:
        """When it ended, in UTC."""
        record = self._record()
        if record is None or not record.date_done:
            return None
        try:
            return datetime.fromisoformat(record.date_done)
        except (TypeError, ValueError):
            raise ResultStoreError(
                f"the stored result of task {self.id} has the date_done {record.date_done!r:.80}, "
                "which is no time in ISO 8601"
            ) from None

    @property
    def name(self) -> str | None:
        """The task's name; like the five that follow it is there with `results.extended` only."""
        return self._told("name")  # type: ignore[no-any-return]

    @property
    def args(self) -> Any:
        """What the task was given."""
        return self._told("args")

    @property
    def kwargs(self) -> Any:
        """What the task was given by name."""
        return self._told("kwargs")

    @property
    def worker(self) -> str | None:
        """The node that ran it."""
        return self._told("worker")  # type: ignore[no-any-return]

    @property
    def retries(self) -> int | None:
        """How often it was retried."""
        return self._told("retries")  # type: ignore[no-any-return]

    @property
    def queue(self) -> str | None:
        """Where its message came from."""
        return self._told("queue")  # type: ignore[no-any-return]

    @property
    def children(self) -> list[Any]:
        """The results of the tasks and groups that it sent; known when it has ended."""
        record = self._record()
        if record is None:
            return []
        if not isinstance(record.children, list | tuple):
            raise ResultStoreError(
                f"the stored result of task {self.id} has the children {record.children!r:.80}: no list"
            )
        assert self._source is not None
        return [self._source.result_from_tuple(child) for child in record.children]

    @property
    def task_id(self) -> str:
        """The same as `id`."""
        return self.id

    @property
    def supports_native_join(self) -> bool:
        """True: one wait serves many results, whatever the store."""
        return True

    def exists(self) -> bool:
        """True if the store has anything of this task."""
        return self._record() is not None

    def ready(self) -> bool:
        """True if the task has ended."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """True if it returned."""
        return self.state == SUCCESS

    def failed(self) -> bool:
        """True if it raised."""
        return self.state == FAILURE

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────

    def forget(self) -> None:
        """Drop the stored result, and those of its parents."""
        self._ended = None
        self._store().forget((self.id,))
        if self.parent is not None:
            self.parent.forget()

    # ── the object itself ────────────────────────────────────────────────────────────────────────────────

    def as_tuple(self) -> list[Any]:
        """``[[id, parent], None]``, as a result record lists its children."""
        return [[self.id, None if self.parent is None else self.parent.as_tuple()], None]

    def as_list(self) -> list[str]:
        """Its id and those of the results before it."""
        return [self.id, *(() if self.parent is None else self.parent.as_list())]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return other.id == self.id
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def _store(self) -> ResultStore:
        store = None if self._source is None else self._source.results
        if store is None:
            raise ResultStoreError(
                f"the result of task {self.id} cannot be asked for: no results are kept; set results.url"
            )
        return store

    def _timeout(self) -> float:
        """Seconds that a call to the store may take."""
        assert self._source is not None
        return self._source.result_timeout

    def _is_known(self) -> bool:
        """Whether its end is known here."""
        return self._ended is not None

    def _meta(self) -> dict[str, Any]:
        """What is known of it in Celery's keys."""
        record = self._ended
        return meta_of(record or Result(self.id, PENDING))

    def _told(self, name: str) -> Any:
        record = None if self._source is None else self._record()
        return None if record is None else record.extra.get(name)

    def _record(self) -> Result | None:
        if self._ended is not None:
            return self._ended
        store = self._store()
        assert self._source is not None
        record = store.get((self.id,), self._source.result_timeout).get(self.id)
        if record is not None and record.state in READY_STATES:
            self._settle(record)
        return record
