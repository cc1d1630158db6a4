"""The tasks that workflows need and that no application declares, under the names that Celery gave them.

Source: celery/app/builtins.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenq.canvas.signature import maybe_signature
from greenq.task import Task

__all__ = ["own_tasks"]


def _map(self: Any, task: Any, it: Any) -> list[Any]:
    call = maybe_signature(task, app=self.app).type
    return [call(value) for value in it]


def _starmap(self: Any, task: Any, it: Any) -> list[Any]:
    call = maybe_signature(task, app=self.app).type
    return [call(*values) for values in it]


def _accumulate(self: Any, *args: Any, index: int | None = None) -> Any:
    return args if index is None else args[index]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "celery.map": _map,
    "celery.starmap": _starmap,
    "celery.accumulate": _accumulate,
}


def own_tasks(app: Any) -> dict[str, Task[Any, Any]]:
    """The tasks by name, for a worker of this application."""
    return {name: Task(app, fn, name, True, {"typing": False}) for name, fn in _FUNCTIONS.items()}
