"""What is told of a run of a task: to the task's own class, whose hooks it may override, and by signals.

Source: celery/app/trace.py (``build_tracer``): which hook and which signal, in which order, with what.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from greenq import signals
from greenq.batches import batched
from greenq.classhooks import ClassHooks
from greenq.errors import Retry, SoftTimeLimitExceeded
from greenq.failures import ExceptionInfo
from greenq.message import FAILURE, RETRY, SUCCESS
from greenq.request import Request, current, entering
from pools.coroutines import is_coroutine_function

__all__ = ["Lifecycle", "body_of"]

log = logging.getLogger("greenq.task")

AFTER = ("on_success", "on_failure", "on_retry", "after_return")
"""The hooks that are called when a run has ended."""


class Hooked(Protocol):
    """The part of a task that is needed here."""

    name: str
    run: Callable[..., Any]


def body_of(task: Any) -> Callable[..., Any]:
    """What runs when a task does: its function, or its class's own ``__call__``, after `before_start`.

    A task whose class overrides neither is its function, with nothing around it.
    """
    body: Callable[..., Any] = task.run
    if task.options.batch is not None:
        body = batched(task, body)
    elif type(task).has_own_call:
        body = _through_call(task)
    before = overridden(task, "before_start")
    return body if before is None else _after_start(before, body)


def overridden(task: Any, hook: str) -> Callable[..., Any] | None:
    """A task's hook of that name, if its class has one that does something."""
    nothing = getattr(ClassHooks, hook)
    return None if getattr(type(task), hook, nothing) is nothing else getattr(task, hook)


def _through_call(task: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        entering.set(current.get())
        return task(*args, **kwargs)

    async def call_coroutine(*args: Any, **kwargs: Any) -> Any:
        value = call(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    return call_coroutine if is_coroutine_function(task.run) else call


def _after_start(before: Callable[..., Any], body: Callable[..., Any]) -> Callable[..., Any]:
    def begin() -> None:
        request = current.get()
        assert request is not None
        before(request.id, request.args, request.kwargs)

    def started(*args: Any, **kwargs: Any) -> Any:
        begin()
        return body(*args, **kwargs)

    async def coroutine_started(*args: Any, **kwargs: Any) -> Any:
        await asyncio.to_thread(begin)
        return await body(*args, **kwargs)

    return coroutine_started if is_coroutine_function(body) else started


class Lifecycle:
    """Tells of the runs of one task.

    What a hook or a receiver raises is logged and changes nothing of the task's end; where a task runs
    eagerly a hook's exception reaches the caller instead, as in Celery.

    Parameters:
        task: whose runs they are.
        bind: the pool's: makes of code that may wait what can be called inside a call of the pool.

    Attributes:
        watches: its class overrides a hook that is called when a run has ended.
    """

    def __init__(
        self, task: Any, bind: Callable[[Callable[..., Any]], Callable[..., Any]], eager: bool = False
    ) -> None:
        self._task = task
        self._eager = eager
        self._hooks = {name: hook for name in AFTER if (hook := overridden(task, name)) is not None}
        self.watches = bool(self._hooks)
        self.begin = bind(self._begin)
        self.succeeded = bind(self._succeeded)
        self.failed = bind(self._failed)
        self.retried = bind(self._retried)
        self.ended = bind(self._ended)

    # ── how a run goes ───────────────────────────────────────────────────────────────────────────────────

    def _begin(self, request: Request) -> None:
        """It is about to begin."""
        request.began = time.monotonic()
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                self._task, task_id=request.id, task=self._task, args=request.args, kwargs=request.kwargs
            )

    def _succeeded(self, request: Request, value: Any) -> None:
        """It has returned, and its value can be stored."""
        id, args, kwargs = request.id, request.args, request.kwargs
        with self._to_the_end(request, SUCCESS, value):
            self._call("on_success", request, value, id, args, kwargs)
            if signals.task_success.receivers:
                runtime = time.monotonic() - request.began
                self._send(signals.task_success, result=value, runtime=runtime)
            self._call("after_return", request, SUCCESS, value, id, args, kwargs, None)

    def _failed(self, request: Request, error: BaseException) -> None:
        """It has raised, or was ended from outside."""
        id, args, kwargs = request.id, request.args, request.kwargs
        info = ExceptionInfo(error)
        with self._to_the_end(request, FAILURE, error):
            self._call("on_failure", request, error, id, args, kwargs, info)
            if signals.task_failure.receivers:
                self._send(
                    signals.task_failure, task_id=id, exception=error, args=args, kwargs=kwargs,
                    traceback=error.__traceback__, einfo=info,
                )  # fmt: skip
            self._call("after_return", request, FAILURE, error, id, args, kwargs, None)

    def _retried(self, request: Request, retry: Retry) -> None:
        """It has asked to run again."""
        info = ExceptionInfo(retry)
        with self._to_the_end(request, RETRY, retry):
            self._call("on_retry", request, retry.exc, request.id, request.args, request.kwargs, info)
            if signals.task_retry.receivers:
                self._send(signals.task_retry, request=request, reason=retry, einfo=info)

    def _ended(self, request: Request, state: str, value: Any) -> None:
        """It has ended in a way that neither hooks nor other signals know: ignored, rejected, put back."""
        with self._to_the_end(request, state, value):
            pass

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _to_the_end(self, request: Request, state: str, value: Any) -> Iterator[None]:
        """After all the rest, whatever that raises, `task_postrun` is sent."""
        try:
            yield
        finally:
            if signals.task_postrun.receivers:
                self._send(
                    signals.task_postrun, task_id=request.id, task=self._task, args=request.args,
                    kwargs=request.kwargs, retval=value, state=state,
                )  # fmt: skip

    def _call(self, name: str, request: Request, *args: Any) -> None:
        hook = self._hooks.get(name)
        if hook is None:
            return
        try:
            hook(*args)
        except Exception as error:
            if self._eager:
                raise
            log.exception(
                "%s of %s[%a] failed; the task's end stays as it is", name, request.task, request.id
            )
            if name in ("on_failure", "on_retry"):
                self.internal_error(request, error)

    def internal_error(self, request: Request, error: BaseException) -> None:
        """Something around the run has failed."""
        if signals.task_internal_error.receivers:
            self._send(
                signals.task_internal_error, task_id=request.id, args=request.args, kwargs=request.kwargs,
                request=request.fields, exception=error, traceback=error.__traceback__,
                einfo=ExceptionInfo(error),
            )  # fmt: skip

    def _send(self, signal: signals.Signal, **named: Any) -> None:
        try:
            signal.send(self._task, **named)
        except SoftTimeLimitExceeded:
            log.warning(
                "a receiver of %s took longer than the soft limit of %s", signal.name, self._task.name
            )
