"""A call that is not sent yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, Unpack

from greenq.options import CallOptions

__all__ = ["Call"]

R = TypeVar("R")


class Call(Generic[R]):
    """A call that is not sent yet.

    Parameters:
        task: the task's name.
        args, kwargs: what its function gets.
        options: as `Task.apply_async` takes them.
    """

    __slots__ = ("args", "kwargs", "options", "task")

    def __init__(
        self,
        task: str,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options

    def set(self, **options: Unpack[CallOptions]) -> Call[R]:
        """The same call with these options too."""
        return Call(self.task, self.args, self.kwargs, {**(self.options or {}), **options})

    def __repr__(self) -> str:
        return f"<Call {self.task}>"
