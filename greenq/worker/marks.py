"""Makes a task with a hard limit recognizable in the stack of a process in which no Python code can run.

A catastrophic regular expression holds the interpreter's lock. All that can still be had from such a process
is its stack, written by a signal handler in C: file, line and function of each frame. So a task with a hard
limit runs under a function of its own whose name has a number, and what runs under that number stands on the
page that the process shares with its supervisor.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from greenq.request import current
from greenq.task import Task
from greenq.worker.page import MARKS, TEXT, Page, TaskCode
from pools.coroutines import is_coroutine_function

__all__ = ["Marks"]

NAME = "mark {}"
"""What the function under which a marked task runs is called."""


class Marks:
    """The marks of one process.

    Parameters:
        page: where it is told what runs under each.
        tasks: all that can run, by name.
    """

    def __init__(self, page: Page, tasks: Mapping[str, Task[Any, Any]]) -> None:
        self._tell = page.mark
        self._now = time.monotonic
        self.functions: dict[int, Any] = {}
        self.coroutine_functions: dict[int, Any] = {}
        """What runs under each mark, made when one is first taken."""
        self.free: list[int] = []
        """Marks that were given back."""
        self._new = itertools.count()
        self._numbers = {name: number for number, name in enumerate(tasks)}
        page.list_tasks([_code(name, task.run) for name, task in tasks.items()])

    def around(
        self, task: Task[Any, Any], limit: float | None, body: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """A task's function, run under a mark; a coroutine function stays one.

        Parameters:
            limit: its hard limit in seconds, for calls that bring none of their own.
            body: what runs instead of the bare function.
        """
        body = task.run if body is None else body
        marked = _marked_coroutine if is_coroutine_function(body) else _marked
        return marked(self, body, self._numbers[task.name], limit)

    def take(self, task: int, limit: float | None) -> int:
        """Take a mark for the call that runs here; `MARKS` if there is none."""
        request = current.get()
        own = request.fields.get("timelimit") if request is not None else None
        limit = own[0] if own and own[0] is not None else limit
        if request is None or limit is None:
            return MARKS
        id = request.id.encode()
        if len(id) > TEXT:
            return MARKS
        try:
            mark = self.free.pop()
        except IndexError:
            mark = next(self._new)
            if mark >= MARKS:
                return MARKS
        self._tell(mark, self._now(), limit, task, id)
        return mark


def _marked(marks: Marks, fn: Callable[..., Any], task: int, limit: float | None) -> Callable[..., Any]:
    functions, free, take = marks.functions, marks.free, marks.take

    def marked(*args: Any, **kwargs: Any) -> Any:
        mark = take(task, limit)
        try:
            return (functions.get(mark) or _named(functions, mark, _run))(fn, args, kwargs)
        finally:
            if mark != MARKS:
                free.append(mark)

    return marked


def _marked_coroutine(
    marks: Marks, fn: Callable[..., Any], task: int, limit: float | None
) -> Callable[..., Any]:
    functions, free, take = marks.coroutine_functions, marks.free, marks.take

    async def marked(*args: Any, **kwargs: Any) -> Any:
        mark = take(task, limit)
        try:
            return await (functions.get(mark) or _named(functions, mark, _run_coroutine))(fn, args, kwargs)
        finally:
            if mark != MARKS:
                free.append(mark)

    return marked


def _run(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


async def _run_coroutine(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return await fn(*args, **kwargs)


def _named(functions: dict[int, Any], mark: int, template: Any) -> Any:
    """The template under the mark's name, made once."""
    code = template.__code__.replace(co_name=NAME.format(mark))
    function = functions[mark] = FunctionType(code, template.__globals__)
    return function


def _code(name: str, run: Callable[..., Any]) -> TaskCode:
    """Where a task's code is; nowhere, if it is no Python function."""
    code = getattr(inspect.unwrap(run), "__code__", None)
    return TaskCode(name, code.co_filename, code.co_name) if code is not None else TaskCode(name, "", "")
