"""Steps of a task that are done once, however often the task runs: `Task.step`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from greenq.errors import DecodeError, InvalidOption, ResultStoreError
from greenq.message import SUCCESS, Result
from greenq.request import Request
from pools.coroutines import is_coroutine_function

if TYPE_CHECKING:
    from greenq.results.base import ResultStore
    from greenq.sender import Sender

__all__ = ["eager_steps", "key_of_step", "run_step"]

LONGEST_NAME = 80
"""Characters of a step's name: with the task's id it must fit a database's column."""

eager_steps: ContextVar[dict[str, Any] | None] = ContextVar("greenq_eager_steps", default=None)
"""The values of the steps of a task that runs eagerly, by name: kept while it is retried."""


def key_of_step(task_id: str, name: str) -> str:
    """The id under which the result store keeps a step's value."""
    return f"{task_id}.step.{quote(name, safe='')}"


def run_step(
    app: Sender,
    request: Request,
    name: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Give the stored value of a step, or else call `fn` and store it; see `Task.step`."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidOption(
            f"a step's name must be a string of 1 to {LONGEST_NAME} printable characters, not {name!r:.80}"
        )
    if request.called_directly:
        return fn(*args, **kwargs)
    steps = _Remembered() if request.is_eager else _Stored(app, request)
    if is_coroutine_function(fn):
        return _run_coroutine(steps, name, fn, args, kwargs)
    found = steps.get(name)
    return steps.keep(name, fn(*args, **kwargs)) if found is None else found[0]


async def _run_coroutine(
    steps: _Stored | _Remembered, name: str, fn: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    found = await asyncio.to_thread(steps.get, name)
    if found is not None:
        return found[0]
    return await asyncio.to_thread(steps.keep, name, await fn(*args, **kwargs))


class _Stored:
    """The steps of a task in the result store."""

    def __init__(self, app: Sender, request: Request) -> None:
        store = app.results
        if store is None or store.reply_to is not None:
            why = "no results are kept" if store is None else "results are sent to the caller and not kept"
            raise ResultStoreError(
                f"{request.task} has steps, but a later run could not find them: {why}; set results.url to a "
                "store that all workers can read, such as Redis, a database or sqlite"
            )
        self._store: ResultStore = store
        self._keep = app.settings.results
        self._id = request.id

    def get(self, name: str) -> tuple[Any] | None:
        """The step's value, if there is one."""
        key = key_of_step(self._id, name)
        record = self._store.get((key,), self._keep.timeout).get(key)
        return None if record is None else (record.value,)

    def keep(self, name: str, value: Any) -> Any:
        """Store the step's value; as the serializer gives it back, so that every run sees the same."""
        record = Result(key_of_step(self._id, name), SUCCESS, value, expires=self._keep.expires)
        self._store.encode(record)
        self._store.put((record,), self._keep.timeout)
        try:
            return self._store.decode(record.payload).value
        except DecodeError:
            return value


class _Remembered:
    """The steps of a task that runs where it was called: nobody else will ever ask for them."""

    def __init__(self) -> None:
        found = eager_steps.get()
        self._values: dict[str, Any] = {} if found is None else found

    def get(self, name: str) -> tuple[Any] | None:
        """The step's value, if there is one."""
        return (self._values[name],) if name in self._values else None

    def keep(self, name: str, value: Any) -> Any:
        """Remember the step's value."""
        self._values[name] = value
        return value
