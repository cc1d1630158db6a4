"""Run coroutine functions from ordinary code, on one event loop in a native thread of this process.

What waits for a coroutine waits as its own world waits: a green thread lets the others of its hub run. The
loop is made at the first call, made anew in a forked child, and stopped when the interpreter exits.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Bound", "bind", "is_coroutine_function", "run"]


def is_coroutine_function(fn: Callable[..., Any]) -> bool:
    """Whether calling `fn` makes a coroutine; also for `functools.partial` and callable objects."""
    if inspect.iscoroutinefunction(fn):
        return True
    return not isinstance(fn, type) and inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


class Bound:
    """A coroutine function as a plain callable that returns when the coroutine has ended.

    Parameters:
        fn: the coroutine function. Pickled by its own name, so that a bound function can be sent to a child.
    """

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        functools.update_wrapper(self, fn, updated=())
        self.fn = fn
        importlib.import_module("pools.background")  # now, and not in the middle of the first call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return run(self.fn(*args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.fn,)


def bind(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a plain function that runs `fn` to its end.

    A coroutine function runs on the process's event loop, in a copy of the caller's context; value or
    exception come back. An `Exception` that is raised in the waiting call from outside, such as a soft
    time limit, is raised in the coroutine, which may handle it. Anything harder cancels the coroutine, whose
    `finally` blocks get a few seconds. An ordinary function is returned as it is.
    """
    return Bound(fn) if is_coroutine_function(fn) else fn


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the process's event loop, and wait for it as the calling thread waits.

    Returns:
        What it returned. Its exception is raised here, with its traceback.

    Raises:
        PoolError: called from the loop itself, which would wait for itself for ever.
    """
    from pools.background import run_in_background

    return run_in_background(coroutine)
