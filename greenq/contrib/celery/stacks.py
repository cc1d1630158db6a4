"""What runs now, as Celery's own code asks for it: its stack of tasks, and each task's stack of requests.

Celery keeps both for each thread. Here they are kept for each context: every run of a task has one of its
own, so nothing has to be pushed before it or taken away after it, and nothing is left to the next run on the
same green thread. At the bottom lies what greenq's worker runs; above it what Celery's code has pushed.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from celery import _state  # type: ignore[import-untyped]
from celery.app import base, task, trace  # type: ignore[import-untyped]
from celery.app.task import Context  # type: ignore[import-untyped]

from greenq.contrib.celery.contexts import context_of
from greenq.request import current

__all__ = ["RequestStack", "TaskStack", "install"]


class ContextStack:
    """A stack with the methods of `celery.utils.threads.LocalStack`.

    Parameters:
        name: for people who debug it.
    """

    def __init__(self, name: str) -> None:
        self._pushed: ContextVar[tuple[Any, ...]] = ContextVar(name, default=())

    def _bottom(self) -> Any:
        """What the worker runs; None outside of it."""
        return None

    def push(self, item: Any) -> list[Any]:
        """Lay something on top."""
        self._pushed.set((*self._pushed.get(), item))
        return self.stack

    def pop(self) -> Any:
        """Take away and return what was pushed last; None if nothing was."""
        pushed = self._pushed.get()
        if not pushed:
            return None
        self._pushed.set(pushed[:-1])
        return pushed[-1]

    @property
    def top(self) -> Any:
        """What is on top; None if it is empty."""
        pushed = self._pushed.get()
        return pushed[-1] if pushed else self._bottom()

    @property
    def stack(self) -> list[Any]:
        """All of it, the bottom first."""
        bottom = self._bottom()
        return [*(() if bottom is None else (bottom,)), *self._pushed.get()]

    def __len__(self) -> int:
        return len(self.stack)


class RequestStack(ContextStack):
    """The requests of one task."""

    def __init__(self, name: str) -> None:
        super().__init__(f"requests of {name}")
        self._name = name

    def _bottom(self) -> Context | None:
        request = current.get()
        return context_of(request) if request is not None and request.task == self._name else None


class TaskStack(ContextStack):
    """The tasks that run, innermost last.

    Parameters:
        app: the Celery application whose tasks they are.
    """

    def __init__(self, app: Any) -> None:
        super().__init__("tasks that run")
        self._app = app

    def _bottom(self) -> Any:
        request = current.get()
        return None if request is None else self._app.tasks.get(request.task)


def install(app: Any) -> None:
    """Have all of Celery's code ask our stack of tasks, and each task its own stack of requests."""
    stack = TaskStack(app)
    for module in (_state, trace, task, base):
        module._task_stack = stack
    _state.push_current_task, _state.pop_current_task = stack.push, stack.pop
    for name, one in app.tasks.items():
        one.request_stack = RequestStack(name)
    # Makes a class's own __call__ go on to the function when it calls its parent's, as in Celery's workers.
    trace._install_stack_protection()
