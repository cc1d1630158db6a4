"""What is told of the runs of adopted tasks: to Celery's hooks and by Celery's signals, with its arguments.

Source: celery/app/trace.py (``build_tracer``, ``TraceInfo``): which hook and which signal, in which order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo  # type: ignore[import-untyped]
from celery import signals  # type: ignore[import-untyped]
from celery.app.trace import task_has_custom  # type: ignore[import-untyped]
from celery.loaders.base import BaseLoader  # type: ignore[import-untyped]

from greenq.contrib.celery.contexts import context_of
from greenq.contrib.celery.exceptions import as_celery
from greenq.errors import Reject, Retry, SoftTimeLimitExceeded
from greenq.lifecycle import AFTER, Lifecycle
from greenq.message import FAILURE, RETRY, SUCCESS
from greenq.request import Request
from greenq.signals import RUNS

__all__ = ["AdoptedLifecycle", "beginning_of"]

log = logging.getLogger("greenq.task")


def beginning_of(original: Any) -> Callable[[Request], None]:
    """What is done just before a task's function, if anything wants it."""
    before = original.before_start if task_has_custom(original, "before_start") else None
    loader = original.app.loader
    prepare = None if type(loader).on_task_init is BaseLoader.on_task_init else loader.on_task_init

    def begin(request: Request) -> None:
        request.began = time.monotonic()
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=original, task_id=request.id, task=original, args=request.args, kwargs=request.kwargs
            )
        if prepare is not None:
            prepare(request.id, original)
        if before is not None:
            before(request.id, request.args, request.kwargs)

    return begin


class AdoptedLifecycle(Lifecycle):
    """Tells of the runs of one adopted task."""

    def __init__(
        self, task: Any, bind: Callable[[Callable[..., Any]], Callable[..., Any]], eager: bool = False
    ) -> None:
        super().__init__(task, bind, eager)
        original = task.original
        self._original = original
        self._hooks = {name: getattr(original, name) for name in AFTER if task_has_custom(original, name)}
        loader = original.app.loader
        own = type(loader).on_process_cleanup is not BaseLoader.on_process_cleanup
        self._clean_up = loader.on_process_cleanup if own else None
        self._greenq = Lifecycle(task, bind, eager)
        # Receivers come and go while the worker runs, so we always want to be asked.
        self.watches = True

    def _succeeded(self, request: Request, value: Any) -> None:
        id, args, kwargs = request.id, request.args, request.kwargs
        try:
            if self._hooks:
                self._call("on_success", request, value, id, args, kwargs)
            if signals.task_success.receivers:
                began = getattr(request, "began", None)
                runtime = 0.0 if began is None else time.monotonic() - began
                self._tell(signals.task_success, result=value, runtime=runtime)
            if self._hooks:
                self._call("after_return", request, SUCCESS, value, id, args, kwargs, None)
        finally:
            self._has_ended(request, SUCCESS, value)
        if RUNS:
            self._greenq.succeeded(request, value)

    def _failed(self, request: Request, error: BaseException) -> None:
        id, args, kwargs = request.id, request.args, request.kwargs
        told = as_celery(error)
        info = ExceptionInfo((type(told), told, error.__traceback__))
        try:
            self._call("on_failure", request, told, id, args, kwargs, info)
            if signals.task_failure.receivers:
                self._tell(
                    signals.task_failure, task_id=id, exception=told, args=args, kwargs=kwargs,
                    traceback=error.__traceback__, einfo=info,
                )  # fmt: skip
            self._call("after_return", request, FAILURE, told, id, args, kwargs, None)
        finally:
            self._has_ended(request, FAILURE, told)
        if RUNS:
            self._greenq.failed(request, error)

    def _retried(self, request: Request, retry: Retry) -> None:
        told = as_celery(retry)
        info = ExceptionInfo((type(told), told, told.__traceback__))
        try:
            self._call("on_retry", request, retry.exc, request.id, request.args, request.kwargs, info)
            if signals.task_retry.receivers:
                self._tell(signals.task_retry, request=context_of(request), reason=told, einfo=info)
        finally:
            self._has_ended(request, RETRY, told)
        if RUNS:
            self._greenq.retried(request, retry)

    def _ended(self, request: Request, state: str, value: Any) -> None:
        told = as_celery(value)
        if isinstance(value, Reject) and value.failure is not None and signals.task_failure.receivers:
            self._tell(
                signals.task_failure, task_id=request.id, exception=told, args=request.args,
                kwargs=request.kwargs, traceback=told.__traceback__,
                einfo=ExceptionInfo((type(told), told, told.__traceback__)),
            )  # fmt: skip
        self._has_ended(request, state, told)
        if RUNS:
            self._greenq.ended(request, state, value)

    def _has_ended(self, request: Request, state: str, value: Any) -> None:
        """After all the rest, whatever that raised."""
        if signals.task_postrun.receivers:
            original = self._original
            self._tell(
                signals.task_postrun, task_id=request.id, task=original, args=request.args,
                kwargs=request.kwargs, retval=value, state=state,
            )  # fmt: skip
        if self._clean_up is not None:
            try:
                self._clean_up()
            except Exception:
                log.exception("the loader's on_process_cleanup failed after %a", request.id)

    def _tell(self, signal: Any, **named: Any) -> None:
        try:
            signal.send(sender=self._original, **named)
        except SoftTimeLimitExceeded:
            name = self._original.name
            log.warning("a receiver of %s took longer than the soft limit of %s", signal.name, name)
