"""May results be waited for here? Not inside a task, unless its author says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from greenq.request import current

__all__ = ["allow_join_result", "deny_join_result", "refuse_in_task"]

_joining: ContextVar[bool | None] = ContextVar("greenq_joining", default=None)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let the code inside wait for results in a task; its worker may run out of slots and deadlock."""
    token = _joining.set(True)
    try:
        yield
    finally:
        _joining.reset(token)


@contextmanager
def deny_join_result() -> Iterator[None]:
    """Refuse waiting for results in the code inside, also where it is allowed."""
    token = _joining.set(False)
    try:
        yield
    finally:
        _joining.reset(token)


def refuse_in_task() -> None:
    """Raise, if this is a task.

    Raises:
        RuntimeError: as Celery does.
    """
    allowed = _joining.get()
    if allowed is None:
        request = current.get()
        allowed = request is None or request.is_eager
    if not allowed:
        raise RuntimeError(
            "a task must not wait for the result of another: if all slots wait, none is left to run what "
            "they wait for. Split the task, or call get(disable_sync_subtasks=False) where that cannot happen"
        )
