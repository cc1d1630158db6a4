"""Results that belong together: those of a group, or of one's own choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from greenq.asyncresult import WAIT_CHUNK, AsyncResult, Source
from greenq.errors import ResultStoreError
from greenq.gathering import completed
from greenq.joining import refuse_in_task
from greenq.message import FAILURE, PENDING, READY_STATES, SUCCESS
from greenq.results.base import ResultStore
from greenq.resulttree import ResultTree, leaves_of
from greenq.resultwatch import meta_of
from greenq.shortrepr import shortrepr

__all__ = ["AnyResult", "GroupResult", "ResultSet", "result_from_tuple", "topmost"]

MOST_PARENTS = 1000
"""Results above a child; more is no workflow but an attack."""
MOST_LEVELS = 50
"""Groups inside groups."""
BEAT = 0.5
"""Seconds between two calls of `on_interval`."""


class ResultSet(ResultTree):
    """Results that are asked and waited for together.

    Parameters:
        results: of calls or of groups.
        app: whose store has them; by default that of the first.
    """

    def __init__(self, results: Iterable[Any] = (), app: Source | None = None) -> None:
        self.results: list[Any] = list(results)
        self._source = app
        self.parent: Any = None

    # ── members ──────────────────────────────────────────────────────────────────────────────────────────

    def add(self, result: Any) -> None:
        """Add one, unless it is there already."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Take one out, given itself or its id.

        Raises:
            KeyError: it is not there.
        """
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Take one out, if it is there."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add several."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Take all out."""
        self.results.clear()

    @property
    def children(self) -> list[Any]:
        """Its results."""
        return self.results

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────

    def ready(self) -> bool:
        """True if all have ended."""
        return all(state in READY_STATES for state in self._states().values())

    def waiting(self) -> bool:
        """True if one has not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """True if all have returned."""
        return all(state == SUCCESS for state in self._states().values())

    def failed(self) -> bool:
        """True if one has raised."""
        return FAILURE in self._states().values()

    def completed_count(self) -> int:
        """How many have returned; a group counts once, when all of it has."""
        states = self._states()
        return sum(all(states[leaf.id] == SUCCESS for leaf in one._leaves()) for one in self.results)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> None:
        """Raise the exception of the first that has failed."""
        self._states()
        for leaf in self._leaves():
            if leaf._is_known():
                leaf.maybe_throw(propagate, callback)

    maybe_reraise = maybe_throw

    def _states(self) -> dict[str, str]:
        """The state of every call in it, after one question for all that are not known to have ended."""
        states: dict[str, str] = {}
        unknown: dict[str, AsyncResult[Any]] = {}
        for leaf in self._leaves():
            if leaf._is_known():
                states[leaf.id] = leaf.state
            else:
                states[leaf.id] = PENDING
                unknown[leaf.id] = leaf
        if unknown:
            some = next(iter(unknown.values()))
            for id, record in some._store().get(unknown, some._timeout()).items():
                states[id] = record.state
                if record.state in READY_STATES:
                    unknown[id]._settle(record)
        return states

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """Wait for all of them and return their values in order.

        Parameters:
            timeout: seconds for all of them; None waits for ever.
            propagate: raise the first failure as soon as it is known; otherwise exceptions are among the
                values.
            interval: seconds between two calls of `on_interval`.
            callback: called with the id and the value of each as it ends; the values are not returned then.
            no_ack: allowed for Celery's sake and without effect.
            on_message: called with the record of each as it ends, in Celery's keys.
            on_interval: called again and again while it waits.
            disable_sync_subtasks: refuse to wait inside a task, where it can deadlock the worker.

        Raises:
            ResultTimeout: not all ended in time.
            ResultStoreError: no results are kept, or the store fails.
            RuntimeError: called inside a task.
        """
        if disable_sync_subtasks:
            refuse_in_task()
        chunk = WAIT_CHUNK if on_interval is None else (BEAT if interval is None else interval)
        for leaf in completed(self._leaves(), timeout, chunk, on_interval):
            if on_message is not None and leaf._ended is not None:
                on_message(meta_of(leaf._ended))
            value = None if leaf.ignored else leaf._end(propagate)
            if callback is not None:
                callback(leaf.id, value)
        return [] if callback is not None else self.values(propagate)

    join = get
    join_native = get

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float | None = None,
        no_ack: bool = True,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the id and the record, in Celery's keys, of each as it ends; see `get`."""
        chunk = WAIT_CHUNK if on_interval is None else (BEAT if interval is None else interval)
        for leaf in completed(self._leaves(), timeout, chunk, on_interval):
            record = leaf._meta()
            if on_message is not None:
                on_message(record)
            yield leaf.id, record

    def values(self, propagate: bool = True) -> list[Any]:
        """The values of results that have all ended, in order; a group's is a list."""
        return [result._outcome(propagate) for result in self.results]

    def then(
        self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None = None, weak: bool = False
    ) -> Any:
        """Call a function with this set once the last of its results is known; see `AsyncResult.then`."""
        leaves = list(self._leaves())
        missing = {leaf.id for leaf in leaves}

        def told(leaf: AsyncResult[Any]) -> None:
            missing.discard(leaf.id)
            if not missing:
                failed = on_error is not None and any(leaf.failed() for leaf in leaves)
                (on_error if failed and on_error is not None else callback)(self)

        for leaf in leaves:
            leaf.then(told)
        if not leaves:
            callback(self)
        return self

    def _leaves(self) -> Iterator[AsyncResult[Any]]:
        return leaves_of(self.results)

    def _outcome(self, propagate: bool) -> list[Any]:
        return self.values(propagate)

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────

    def forget(self) -> None:
        """Drop the stored results of all of them."""
        for result in self.results:
            result.forget()

    # ── the object itself ────────────────────────────────────────────────────────────────────────────────

    @property
    def supports_native_join(self) -> bool:
        """True: one wait serves many results, whatever the store."""
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __bool__(self) -> bool:
        return bool(self.results)

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result) for result in self.results)}]>"


class GroupResult(ResultSet):
    """The results of a group.

    Parameters:
        id: the group's.
        results: of its members, in their order.
        parent: the result of what came before it in a chain.
        app: whose store has them; by default that of the first.
    """

    def __init__(
        self, id: str, results: Iterable[Any] = (), parent: Any = None, app: Source | None = None
    ) -> None:
        super().__init__(results, app)
        self.id = id
        self.parent = parent

    def as_tuple(self) -> list[Any]:
        """``[[id, parent], [results]]``, as a result record lists its children."""
        parent = None if self.parent is None else self.parent.as_tuple()
        return [[self.id, parent], [result.as_tuple() for result in self.results]]

    def as_list(self) -> list[str]:
        """Its id and those of the results before it."""
        return [self.id, *(() if self.parent is None else self.parent.as_list())]

    def save(self, backend: ResultStore | None = None) -> None:
        """Store which results it has, for `restore`; kept as long as results are.

        Parameters:
            backend: the store, by default the application's.
        """
        source = self._home()
        store = source.results if backend is None else backend
        if store is None:
            raise _no_store(self.id)
        store.save_group(self.id, self.as_tuple(), source.result_expires, source.result_timeout)

    def delete(self, backend: ResultStore | None = None) -> None:
        """Drop what `save` has stored."""
        store = self._home().results if backend is None else backend
        if store is None:
            raise _no_store(self.id)
        store.forget_group(self.id)

    @classmethod
    def restore(cls, id: str, backend: ResultStore | None = None, app: Source | None = None) -> Any:
        """The group's result that `save`, or Celery, has stored; None if there is none.

        Parameters:
            backend: the store, by default the application's.
            app: whose results they are; ``app.GroupResult.restore(id)`` knows by itself.
        """
        source = app or getattr(cls, "bound_to", None)
        if source is None:
            raise ResultStoreError(
                f"group {id} belongs to no application: call app.GroupResult.restore(…), or give app=…"
            )
        store = source.results if backend is None else backend
        if store is None:
            raise _no_store(id)
        tree = store.restore_group(id, source.result_timeout)
        return None if tree is None else result_from_tuple(tree, source)

    def _home(self) -> Source:
        found = self._source or next((leaf._source for leaf in self._leaves() if leaf._source), None)
        if found is None:
            raise ResultStoreError(f"group {self.id} belongs to no application: make it with app=…")
        return found

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id} [{', '.join(str(result) for result in self.results)}]>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (self.id, self.results, self.parent) == (other.id, other.results, other.parent)
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


AnyResult = AsyncResult[Any] | GroupResult


def _no_store(id: str) -> ResultStoreError:
    return ResultStoreError(f"group {id} cannot be kept or asked for: no results are kept; set results.url")


def topmost(result: Any) -> Any:
    """The first result above one in its chain; itself if it is the first.

    Raises:
        RuntimeError: a result is above itself.
    """
    seen = set()
    while result.parent is not None:
        if result.id in seen:
            raise RuntimeError(f"result {result.id} is above itself")
        seen.add(result.id)
        result = result.parent
    return result


def result_from_tuple(entry: Any, source: Source | None = None, level: int = 0) -> Any:
    """The result that a record or a saved group names, as ``as_tuple`` writes it.

    Raises:
        ResultStoreError: it has another shape.
    """
    if isinstance(entry, AsyncResult | ResultSet):
        return entry
    made: list[tuple[str, Any]] = []
    rest = entry
    try:
        while rest is not None or not made:
            head, members = rest
            id, rest = head if isinstance(head, list | tuple) else (head, None)
            made.append((id, members))
            if len(made) > MOST_PARENTS or level > MOST_LEVELS:
                raise ValueError
        result: Any = None
        for id, members in reversed(made):
            if members is None:
                result = AsyncResult[Any](id, source, result)
            else:
                inner = [result_from_tuple(one, source, level + 1) for one in members]
                result = GroupResult(id, inner, result, source)
        return result
    except (TypeError, ValueError):
        raise ResultStoreError(
            f"the stored result lists the child {shortrepr(entry, 80)}, which is not [[id, parent], children]"
        ) from None
