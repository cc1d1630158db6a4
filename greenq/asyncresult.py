"""The result of a call that was sent: ask for it, wait for it, drop it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from greenq.errors import GreenqError, ResultStoreError, ResultTimeout
from greenq.failures import rebuild
from greenq.joining import refuse_in_task
from greenq.message import EXCEPTION_STATES, FAILURE, PENDING, READY_STATES, REVOKED, SUCCESS, Result
from greenq.results.base import ResultStore
from greenq.shortrepr import shortrepr

__all__ = ["WAIT_CHUNK", "AsyncResult", "Source"]

T = TypeVar("T")

WAIT_CHUNK = 30.0
"""Seconds that one wait on the store may take; only how often an endless `get` looks again."""
MOST_PARENTS = 1000
"""Results above a child; more is no workflow but an attack."""


class Source(Protocol):
    """Where results are kept: the application."""

    @property
    def results(self) -> ResultStore | None:
        """The result store, None if no results are kept."""

    @property
    def result_timeout(self) -> float:
        """Seconds that a call to the store may take."""


class AsyncResult(Generic[T]):
    """A call's result, wherever and whenever it runs.

    Parameters:
        id: the task's id.
        source: the application whose store has the result.
        parent: the result of the call before it in a chain.
        ignored: the call stores no result; `get` returns None at once.
    """

    def __init__(
        self, id: str, source: Source | None, parent: AsyncResult[Any] | None = None, ignored: bool = False
    ) -> None:
        if not isinstance(id, str) or not id:
            raise ValueError(f"a result's id must be a string that is not empty, not {id!r}")
        self.id = id
        self.parent = parent
        self.ignored = ignored
        self._source = source
        self._ended: Result | None = None

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        *,
        disable_sync_subtasks: bool = True,
    ) -> T:
        """Wait for the task's end and return what it returned.

        Parameters:
            timeout: seconds; None waits for ever.
            propagate: raise the task's exception; otherwise return it.
            interval: allowed for Celery's sake and without effect: the store tells, nothing polls.
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
        self._wait(deadline, timeout)
        return self._end(propagate)

    def _wait(self, deadline: float | None, timeout: float | None) -> None:
        while self._ended is None:
            left = WAIT_CHUNK if deadline is None else min(WAIT_CHUNK, deadline - time.monotonic())
            ended = self._store().wait((self.id,), max(0.0, left))
            if self.id in ended:
                self._ended = ended[self.id]
            elif deadline is not None and time.monotonic() >= deadline:
                raise ResultTimeout(
                    f"task {self.id} did not end within {timeout:g} s; it may still be running"
                )

    def _end(self, propagate: bool) -> T:
        value = self.result
        if propagate and self.state in (FAILURE, REVOKED):
            raise value
        return value  # type: ignore[no-any-return]

    def wait(self, timeout: float | None = None, propagate: bool = True) -> T:
        """The same as `get`."""
        return self.get(timeout, propagate)

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
    def children(self) -> list[AsyncResult[Any]]:
        """The results of the tasks that it sent; known when it has ended."""
        record = self._record()
        if record is None:
            return []
        if not isinstance(record.children, list | tuple):
            raise ResultStoreError(
                f"the stored result of task {self.id} has the children {record.children!r:.80}: no list"
            )
        return [_from_tuple(child, self._source) for child in record.children]

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

    def revoke(self, terminate: bool = False, signal: str | None = None) -> None:
        """Refused: greenq cannot yet tell workers to drop a task.

        Raises:
            GreenqError: always. A mark in the store alone would not keep the task from running.
        """
        raise GreenqError(
            f"task {self.id} cannot be revoked: workers take no remote control yet; "
            "give the call an expiry (expires=…) or a time_limit, or purge its queue"
        )

    # ── the object itself ────────────────────────────────────────────────────────────────────────────────

    def as_tuple(self) -> list[Any]:
        """``[[id, parent], None]``, as a result record lists its children."""
        return [[self.id, None if self.parent is None else self.parent.as_tuple()], None]

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
            self._ended = record
        return record


def _from_tuple(entry: Any, source: Source | None) -> AsyncResult[Any]:
    """Read one of a record's children."""
    ids: list[str] = []
    rest = entry
    try:
        while rest is not None or not ids:
            (id, rest), _ = rest
            ids.append(id)
            if len(ids) > MOST_PARENTS:
                raise ValueError
        child = AsyncResult[Any](ids.pop(), source)
        while ids:
            child = AsyncResult(ids.pop(), source, child)
    except (TypeError, ValueError):
        raise ResultStoreError(
            f"the stored result lists the child {shortrepr(entry, 80)}, which is not [[id, parent], children]"
        ) from None
    return child
