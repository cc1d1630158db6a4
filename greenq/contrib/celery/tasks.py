"""One of Celery's tasks as a task of greenq: its options, and its function with what is done around it."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from celery import signals  # type: ignore[import-untyped]
from celery.app.trace import task_has_custom  # type: ignore[import-untyped]
from celery.loaders.base import BaseLoader  # type: ignore[import-untyped]

from greenq.contrib.celery.exceptions import ENDS, translated
from greenq.contrib.celery.lifecycle import AdoptedLifecycle, beginning_of
from greenq.errors import Retry
from greenq.request import current
from greenq.task import Task
from greenq.throttling.rules import rate

__all__ = ["AdoptedTask", "options_of", "rate_of"]


class AdoptedTask(Task[Any, Any]):
    """Runs a task of Celery's.

    Parameters:
        app: the adopted application.
        original: Celery's task.
        options: see `options_of`.

    Attributes:
        original: Celery's task.
    """

    lifecycle_kind = AdoptedLifecycle

    def __init__(self, app: Any, original: Any, options: Mapping[str, Any]) -> None:
        self.original = original
        # What Celery makes of functions has a header, which is a partial of those that get the task itself.
        header = getattr(original, "__header__", None)
        bound = header is None or isinstance(header, partial)
        super().__init__(app, function_of(original, bound), original.name, bound, options)
        self.__doc__ = original.__doc__

    def autoretry(self, exc: BaseException) -> Retry | None:
        """Nothing: Celery has put that around the function itself."""
        return None


def function_of(original: Any, bound: bool) -> Callable[..., Any]:
    """What runs when an adopted task does.

    Parameters:
        bound: it gets a first argument, which it has no use for: Celery's function is bound already.
    """
    function = original if task_has_custom(original, "__call__") else original.run
    begin = beginning_of(original)
    loader = type(original.app.loader)
    always = task_has_custom(original, "before_start") or loader.on_task_init is not BaseLoader.on_task_init
    before, success = signals.task_prerun, signals.task_success

    def run(*args: Any, **kwargs: Any) -> Any:
        if always or before.receivers or success.receivers:
            request = current.get()
            if request is not None:
                begin(request)
        try:
            return function(*args, **kwargs)
        except ENDS as error:
            raise translated(error) from error

    def run_bound(_: object, *args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs)

    made: Any = run_bound if bound else run
    made.__signature__ = _signature(original.run, bound)
    made.__name__ = getattr(original, "__name__", None) or original.name.rpartition(".")[2]
    made.__qualname__ = getattr(original.run, "__qualname__", made.__name__)
    made.__module__ = type(original).__module__
    named: Callable[..., Any] = made
    return named


def _signature(run: Callable[..., Any], bound: bool) -> inspect.Signature:
    """The signature of Celery's function; bound, it has one parameter more in front."""
    try:
        found = inspect.signature(run)
    except (TypeError, ValueError):
        found = inspect.signature(lambda *args, **kwargs: None)
    if not bound:
        return found
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return found.replace(parameters=[first, *found.parameters.values()])


def options_of(original: Any) -> dict[str, Any]:
    """A task's options in greenq's words; what Celery's code does itself is left out."""
    ends = original.acks_on_failure_or_timeout
    options = {
        "typing": False,
        "acks_late": bool(original.acks_late),
        "acks_on_failure": bool(_said(getattr(original, "acks_on_failure", None), ends)),
        "acks_on_timeout": bool(_said(getattr(original, "acks_on_timeout", None), ends)),
        "ignore_result": bool(original.ignore_result),
        "store_errors_even_if_ignored": bool(original.store_errors_even_if_ignored),
        "track_started": bool(original.track_started),
        "trail": bool(original.trail),
        "max_retries": original.max_retries,
        "throws": tuple(original.throws or ()),
        "time_limit": _seconds(original.time_limit),
        "soft_time_limit": _seconds(original.soft_time_limit),
        "expires": _seconds(original.expires),
        "priority": original.priority,
        "compression": getattr(original, "compression", None),
    }
    for name in ("queue", "serializer"):
        value = getattr(original, name, None)
        if value:
            options[name] = str(value)
    hard, soft = options["time_limit"], options["soft_time_limit"]
    if hard is not None and soft is not None and soft > hard:
        options["soft_time_limit"] = None  # Celery has no objection, and never comes to it
    return options


def rate_of(original: Any) -> dict[str, Any]:
    """How often a task may start, of each worker as in Celery; nothing if it may always."""
    limit = original.rate_limit
    try:
        rate(limit)
    except ValueError:
        return {}
    return {"rate_limit": limit, "rate_limit_by": _this_process}


def _this_process(*args: Any, **kwargs: Any) -> str:
    return f"{os.getpid()}@{socket.gethostname()}"


def _said(own: Any, both: Any) -> Any:
    return own if own is not None else True if both is None else both


def _seconds(value: Any) -> float | None:
    """A limit or an age in seconds; 0 means none."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    return float(value) if isinstance(value, int | float) and value > 0 else None
