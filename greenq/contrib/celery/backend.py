"""Results kept by an adopted application's own backend, where greenq has no store of the same format.

Source: celery/backends/base.py: ``store_result``, ``get_task_meta``, ``on_chord_part_return``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from celery import states  # type: ignore[import-untyped]
from celery.app.task import Context  # type: ignore[import-untyped]

from greenq.chords import ChordPart
from greenq.errors import ResultStoreError
from greenq.failures import describe, rebuild, text_of
from greenq.message import READY_STATES, Result
from greenq.results.base import ResultStore
from greenq.results.polling import Poller

__all__ = ["BackendStore"]


class BackendStore(ResultStore):
    """Hands results to a backend of Celery's, one call for each; how long one may take is up to the backend.

    Parameters:
        backend: the application's.
        encode, decode: see `ResultStore`.
    """

    forwards_parts = True

    def __init__(self, backend: Any, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:
        super().__init__(encode, decode)
        self._backend = backend
        self._poller = Poller(self._ended)

    def put(self, results: Sequence[Result], timeout: float) -> None:
        """Store each; Celery's backends leave a result that is there as it is."""
        for result in results:
            found = self.decode(result.payload)
            self._do(
                self._backend.store_result, found.id, found.value, found.state,
                traceback=found.traceback, request=_context(found),
            )  # fmt: skip

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """Ask for one after the other."""
        found = {}
        for id in ids:
            meta = self._do(self._backend.get_task_meta, id, cache=False)
            if meta.get("status") not in (None, states.PENDING):
                value = meta.get("result")
                found[id] = Result(
                    id, meta["status"], describe(value) if isinstance(value, BaseException) else value,
                    meta.get("traceback"), meta.get("children") or [], meta.get("date_done"),
                )  # fmt: skip
        return found

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """Look again and again, at lengthening intervals."""
        wanted = frozenset(ids)
        return self._poller.wait(wanted, timeout) if wanted else {}

    def _ended(self, ids: Collection[str]) -> Mapping[str, Result]:
        return {id: one for id, one in self.get(ids, 0.0).items() if one.state in READY_STATES}

    @property
    def refuses_chords(self) -> str | None:
        """Only Celery's own code makes chords here: it knows how the backend counts."""
        return (
            "a chord that follows a task needs a result store that counts its members: keep results in "
            "redis://, or send the chord from inside a task"
        )

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        """Tell the backend, which sends the body of a complete chord itself."""
        for part in parts:
            member, state, value = self.decode_part(part.payload)
            request = Context(id=member, group=part.group, group_index=part.index, chord=part.body)
            ended = rebuild(value) if state in states.EXCEPTION_STATES else value
            self._do(self._backend.on_chord_part_return, request, state, ended)

    def forget(self, ids: Iterable[str]) -> None:
        """Drop each."""
        for id in ids:
            self._do(self._backend.forget, id)

    def expire(self) -> int:
        """Nothing: ``celery.backend_cleanup`` does it, which celery beat sends."""
        return 0

    def close(self) -> None:
        """Let those go on who wait; the backend is the application's."""
        self._poller.close()

    def _do(self, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        try:
            return call(*args, **named)
        except Exception as error:
            raise ResultStoreError(f"{self._backend.as_uri()}: {text_of(error, repr)}") from error


class _Child:
    """The result of what a task has sent, as a backend asks for it."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry

    def as_tuple(self) -> Any:
        return self._entry


def _context(result: Result) -> Context:
    """The request that a backend takes a result's further fields of."""
    extra = result.extra
    context = Context(
        id=result.id, task=extra.get("name"), args=extra.get("args"), kwargs=extra.get("kwargs"),
        group=extra.get("group_id"), parent_id=extra.get("parent_id"), hostname=extra.get("worker"),
        retries=extra.get("retries") or 0, delivery_info={"routing_key": extra.get("queue")},
    )  # fmt: skip
    context._children = [_Child(entry) for entry in result.children]
    return context
