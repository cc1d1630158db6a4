"""Tasks that take many calls at once: how large a batch is, and what becomes of each call in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from greenq.errors import InvalidOption, Retry
from greenq.request import Request, current
from pools.coroutines import is_coroutine_function

__all__ = ["Batch", "BatchItem", "Members", "batched", "gathered"]

LARGEST = 100_000


@dataclass(frozen=True, slots=True)
class Batch:
    """That a task gets many calls at once: ``@app.task(batch=Batch(size=100, seconds=2))``.

    Parameters:
        size: how many at most.
        seconds: how long the first of them waits for others.

    Raises:
        InvalidOption: one of them is out of bounds.
    """

    size: int = 100
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= LARGEST:
            raise InvalidOption(f"Batch: size must be an integer from 1 to {LARGEST}, not {self.size!r:.80}")
        timed = isinstance(self.seconds, int | float) and not isinstance(self.seconds, bool)
        if not timed or not 0 <= self.seconds <= 86400:
            raise InvalidOption(f"Batch: seconds must be a number from 0 to 86400, not {self.seconds!r:.80}")


class BatchItem(Request):
    """One call of a batch: its request, and what becomes of it.

    What the function says here goes before what it returns for this call, or raises for all.
    """

    __slots__ = ("_error", "_marked", "_retry", "_trace", "_value")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._marked = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._trace: TracebackType | None = None
        self._retry: dict[str, Any] | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        """The item of a call that runs alone."""
        return cls(
            request._call, request.message, request.hostname, request.attempts, is_eager=request.is_eager
        )

    def mark(self, value: Any = None) -> None:
        """It has succeeded, with this value."""
        self._marked, self._value, self._error, self._retry = True, value, None, None

    def fail(self, error: BaseException) -> None:
        """It has failed with this exception, after which `autoretry_for` may have it run again."""
        if not isinstance(error, BaseException):
            raise InvalidOption(f"fail takes an exception, not {error!r:.80}")
        self._marked, self._value, self._error, self._retry = True, None, error, None
        self._trace = error.__traceback__

    def retry(
        self,
        countdown: float | None = None,
        exc: BaseException | None = None,
        eta: datetime | None = None,
        max_retries: int | None = None,
    ) -> None:
        """It is to run again later, as after `Task.retry`."""
        self._marked, self._value, self._error = True, None, None
        self._retry = {"countdown": countdown, "exc": exc, "eta": eta, "max_retries": max_retries}


class Members:
    """The calls of one run of a batch.

    Parameters:
        task: their task, which knows how one is run again.
    """

    def __init__(self, task: Any, items: Sequence[BatchItem]) -> None:
        self._task = task
        self.items = list(items)
        self.ran = False
        self._asked_by: Request | None = None

    def begin(self) -> list[BatchItem]:
        """What the function gets; it is run once, for the first member whose turn it is."""
        self.ran = True
        self._asked_by = current.get()
        return self.items

    def returned(self, value: Any) -> None:
        """The function returned: a value for each, or None."""
        if value is None:
            values: Sequence[Any] = [None] * len(self.items)
        elif not isinstance(value, list | tuple):
            mistake = f"a batch returns a list with a value for each call, or None, not {value!r:.80}"
            self.raised(TypeError(mistake))
            return
        elif len(value) != len(self.items):
            self.raised(ValueError(f"a batch of {len(self.items)} calls returned {len(value)} values"))
            return
        else:
            values = value
        for item, one in zip(self.items, values, strict=True):
            if not item._marked:
                (item.fail if isinstance(one, BaseException) else item.mark)(one)

    def raised(self, error: BaseException) -> None:
        """The function raised: so do all of whom it had said nothing yet."""
        for item in self.items:
            if not item._marked:
                item.fail(error)

    def end_of(self, request: Request | None) -> Any:
        """The value of one member, or raise its exception.

        Parameters:
            request: what runs as the current one; the only item if it is none of them.
        """
        item = request if isinstance(request, BatchItem) else self.items[0]
        error = item._error
        if item._retry is not None:
            raise self._task.retry(throw=False, **item._retry)
        if error is None:
            return item._value
        if isinstance(error, Retry) and request is not self._asked_by:
            # Its next message is of the call that was the current one: this one's is its own.
            when: dict[str, Any] = {"eta" if isinstance(error.when, datetime) else "countdown": error.when}
            raise self._task.retry(exc=error.exc, throw=False, **when)
        # One exception may be raised for a thousand: with its own traceback, not with those of the others.
        raise error.with_traceback(item._trace)


gathered: ContextVar[Members | None] = ContextVar("greenq_batch", default=None)
"""The batch that this context runs; None where a call of such a task runs alone."""


def batched(task: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """What runs for each member of a batch: the first time the function, for all; then only their ends."""

    def members() -> Members:
        request = current.get()
        assert request is not None, "a call that is run has a request"
        return gathered.get() or Members(task, [BatchItem.of(request)])

    def call(*args: Any, **kwargs: Any) -> Any:
        batch = members()
        if not batch.ran:
            try:
                batch.returned(fn(batch.begin()))
            except BaseException as error:
                batch.raised(error)
        return batch.end_of(current.get())

    async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
        batch = members()
        if not batch.ran:
            try:
                batch.returned(await fn(batch.begin()))
            except BaseException as error:
                batch.raised(error)
        return batch.end_of(current.get())

    return call_coroutine if is_coroutine_function(fn) else call
