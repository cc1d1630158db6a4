"""Middleware's hooks around a task's function: resolved at start, and nothing at all where there are none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from greenq.errors import SoftTimeLimitExceeded
from greenq.middleware import Middleware, overridden
from greenq.request import Request, current
from pools.coroutines import is_coroutine_function
from pools.errors import Killed

__all__ = ["NO_HOOKS", "Hooks"]

log = logging.getLogger("greenq.middleware")

Bind = Callable[[Callable[..., Any]], Callable[..., Any]]


class Hooks:
    """The hooks of one application.

    Parameters:
        middleware: outermost first: its `before_run` comes first, its `after_run` last.
    """

    def __init__(self, middleware: Iterable[Middleware] = ()) -> None:
        middleware = tuple(middleware)
        self._before = overridden(middleware, "before_run")
        self._after = overridden(reversed(middleware), "after_run")

    def around(self, fn: Callable[..., Any], bind: Bind) -> Callable[..., Any]:
        """A task's function, bound to the pool, with the hooks around it; without hooks it is only bound.

        An ordinary function's hooks run where it runs, in the same thread. A coroutine function's run beside
        its event loop, which they would hold up.
        """
        if not (self._before or self._after):
            return bind(fn)
        if is_coroutine_function(fn):
            return Hooked(bind(fn), bind(self._run_before), bind(self._run_after))
        return bind(Hooked(fn, self._run_before, self._run_after))

    def _run_before(self, request: Request) -> None:
        for hook in self._before:
            try:
                hook(request)
            except (Killed, SoftTimeLimitExceeded):
                raise  # the task's own limit, which came this early
            except BaseException:
                _complain(hook, request)

    def _run_after(self, request: Request, value: Any, error: BaseException | None) -> None:
        killed: Killed | None = None
        for hook in self._after:
            for _ in range(2):
                try:
                    hook(request, value, error)
                except (Killed, SoftTimeLimitExceeded) as interrupt:
                    # It came in the middle, and what is to be released may not be yet: once more.
                    killed = interrupt if isinstance(interrupt, Killed) else killed
                    continue
                except BaseException:
                    _complain(hook, request)
                break
        if killed is not None:
            raise killed


NO_HOOKS = Hooks()


class Hooked:
    """A function with hooks around it.

    Parameters:
        before: called with the request.
        after: called with the request, the function's value, and its exception or None.
    """

    def __init__(self, fn: Callable[..., Any], before: Callable[..., Any], after: Callable[..., Any]) -> None:
        self._fn = fn
        self._before = before
        self._after = after

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = current.get()
        value: Any = None
        error: BaseException | None = None
        try:
            self._before(request)
            value = self._fn(*args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            try:
                self._release(request, value, error)
            finally:
                error = None  # or this frame and its traceback would keep each other
        return value

    def _release(self, request: Request | None, value: Any, error: BaseException | None) -> None:
        try:
            self._after(request, value, error)
        except SoftTimeLimitExceeded:
            # Raised in a native thread between two lines; it comes only once, and the function has ended.
            self._after(request, value, error)


def _complain(hook: Callable[..., Any], request: Request) -> None:
    name = getattr(hook, "__qualname__", repr(hook))
    log.exception("%s failed for %s[%a]; the task's end stays as it is", name, request.task, request.id)
