"""Many results at once: wait for all of them, or for each as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from greenq.asyncresult import WAIT_CHUNK, AsyncResult
from greenq.errors import ResultTimeout
from greenq.joining import refuse_in_task
from greenq.resulttree import leaves_of

__all__ = ["as_completed", "completed", "gather"]

T = TypeVar("T")


def as_completed(results: Iterable[AsyncResult[T]], timeout: float | None = None) -> Iterator[AsyncResult[T]]:
    """Yield each result as its task ends; one wait serves them all.

    Parameters:
        timeout: seconds for all of them; None waits for ever.

    Raises:
        ResultTimeout: not all ended in time.
        RuntimeError: called inside a task.
    """
    refuse_in_task()
    yield from completed(results, timeout)


def completed(
    results: Iterable[AsyncResult[T]],
    timeout: float | None,
    chunk: float = WAIT_CHUNK,
    on_interval: Callable[[], Any] | None = None,
) -> Iterator[AsyncResult[T]]:
    """The same as `as_completed`, inside tasks too.

    Parameters:
        chunk: seconds between two calls of `on_interval`.
    """
    open_by_id: dict[str, list[AsyncResult[T]]] = {}
    for result in results:
        if result.ignored or result._is_known():
            yield result
        else:
            open_by_id.setdefault(result.id, []).append(result)
    deadline = None if timeout is None else time.monotonic() + timeout
    total = len(open_by_id)
    while open_by_id:
        if on_interval is not None:
            on_interval()
        left = chunk if deadline is None else min(chunk, deadline - time.monotonic())
        store = next(iter(open_by_id.values()))[0]._store()
        ended = store.wait(open_by_id.keys(), max(0.0, left))
        for id, record in ended.items():
            for result in open_by_id.pop(id, ()):
                result._settle(record)
                yield result
        if open_by_id and deadline is not None and time.monotonic() >= deadline:
            raise ResultTimeout(
                f"{len(open_by_id)} of {total} tasks did not end within {timeout:g} s; "
                "they may still be running"
            )


def gather(
    results: Iterable[AsyncResult[T]], timeout: float | None = None, propagate: bool = True
) -> list[T]:
    """Wait for all and return their values in the order of `results`.

    Parameters:
        timeout: seconds for all of them; None waits for ever.
        propagate: raise the first failure in the order of ending; otherwise exceptions are among the values.

    Raises:
        ResultTimeout: not all ended in time.
        RuntimeError: called inside a task.
    """
    refuse_in_task()
    every = list(results)
    for result in completed(leaves_of(every), timeout):
        if propagate and not result.ignored:
            result._end(True)
    return [result._outcome(False) for result in every]
