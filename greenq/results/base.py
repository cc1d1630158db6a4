"""The ResultStore contract: keep what tasks returned until it is asked for or expires.

`greenq.testing.stores` checks everything that is written here against any implementation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from greenq.brokers.base import Broker
from greenq.errors import DecodeError, EncodeError
from greenq.message import Outcome, Result

__all__ = ["ResultStore"]

_NEEDED = ("task_id", "status")


class ResultStore(ABC):
    """Keeps results by task id.

    Every call has a deadline and may be made from any thread or green thread; a call waits as its caller's
    world waits and never stops a hub. Errors are translated to `ResultStoreError`.

    Parameters:
        encode, decode: turn Celery's result record (a dict with ``task_id``, ``status``, ``result``,
            ``traceback``, ``children``, ``date_done``) into bytes and back; made by the application from
            its settings (`results.serializer`, `results.compression`). They carry any other value too, for
            stores that keep the parts of a record apart.
    """

    @property
    def reply_to(self) -> str | None:
        """Where the results of this process's calls are to be sent; None for a store that all can reach."""
        return None

    def __init__(self, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:
        self._encode = encode
        self._decode = decode

    def encode(self, result: Result) -> None:
        """Fill `payload` from the other fields and drop `value`; done where the task ran.

        Raises:
            EncodeError: the serializer can't carry the value, or no store the id.
        """
        try:
            str.encode(result.id)
        except (TypeError, UnicodeEncodeError) as error:
            raise EncodeError(f"the task's id {result.id!a} is not valid Unicode: choose another") from error
        result.payload = self._encode(
            {
                "task_id": result.id,
                "status": result.state,
                "result": result.value,
                "traceback": result.traceback,
                "children": result.children,
                "date_done": result.date_done,
                **result.extra,
            }
        )
        result.value = None

    def decode(self, payload: bytes) -> Result:
        """Read back what `encode` made, by greenq or by Celery.

        Raises:
            DecodeError: it cannot be read.
        """
        record = self._decode(payload)
        if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in _NEEDED):
            raise DecodeError("the stored result is not a record with a task_id and a status")
        return Result(
            id=record.pop("task_id"),
            state=record.pop("status"),
            value=record.pop("result", None),
            traceback=record.pop("traceback", None),
            children=record.pop("children", None) or [],
            date_done=record.pop("date_done", None),
            payload=payload,
            extra=record,
        )

    @abstractmethod
    def put(self, results: Sequence[Result], timeout: float) -> None:
        """Store many encoded results in as few round trips as possible.

        A terminal state that is stored already is never overwritten. Waiters are told.
        """

    @abstractmethod
    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """The results that are there, by id; one that never was, or is forgotten or expired, is absent."""

    @abstractmethod
    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        """Wait until at least one of `ids` has ended, up to `timeout` seconds; those that have, by id.

        One reader serves all waiters of a process, and an idle wait costs no CPU. An id listed twice
        counts once; with no ids it returns at once.
        """

    def commit(self, broker: Broker, outcomes: Sequence[Outcome], timeout: float) -> list[bool] | None:
        """Publish, store and settle many outcomes in one atomic step, where broker and store are one server.

        Returns:
            As `Broker.settle` does (True for an outcome without settlement; where a lease was lost, nothing
            of that outcome is kept); None if this pair cannot, and the caller takes the steps one by one.
            Whether it can never changes for a pair.
        """
        return None

    @abstractmethod
    def forget(self, ids: Iterable[str]) -> None:
        """Drop these results now."""

    @abstractmethod
    def expire(self) -> int:
        """Drop results past their time, where the server does not do so itself; how many they were."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and files. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
