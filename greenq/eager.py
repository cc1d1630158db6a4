"""Run a call where it is made, as a worker would: `Task.apply`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from greenq.callheaders import apply_options
from greenq.composer import new_id
from greenq.eagerresult import EagerResult
from greenq.errors import Ignore, Reject, Retry, Snooze, TaskSignal
from greenq.lifecycle import Lifecycle, body_of
from greenq.message import FAILURE, REJECTED, SUCCESS
from greenq.protocol import EMBED, TaskCall, template
from greenq.request import Request, current
from greenq.shortrepr import shortrepr
from greenq.steps import eager_steps
from pools.coroutines import bind

__all__ = ["run"]

_STATES: dict[type[TaskSignal], str] = {Ignore: "IGNORED", Reject: REJECTED, Snooze: "SNOOZED"}
"""What ends a call in a way that is never stored → its state; the first two are Celery's."""


class Runnable(Protocol):
    """The part of a task that running it needs."""

    name: str
    run: Callable[..., Any]
    is_coroutine: bool

    def autoretry(self, exc: BaseException) -> Retry | None:
        """See `Task.autoretry`."""


def run(
    task: Runnable, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any], throw: bool
) -> EagerResult[Any]:
    """Run a task to its end, retries included; they do not wait.

    Parameters:
        options: of the call, checked.
        throw: raise what the task raises.
    """
    headers = _headers(task, options)
    lifecycle = Lifecycle(task, _as_it_is, eager=True)
    body = bind(body_of(task))
    token = eager_steps.set({})
    try:
        while True:
            headers["argsrepr"], headers["kwargsrepr"] = shortrepr(args), shortrepr(kwargs)
            request = Request(TaskCall(args, kwargs, EMBED, headers), is_eager=True)
            outcome = _run_once(task, request, body, lifecycle, throw)
            if not isinstance(outcome, Retry):
                return outcome
            args, kwargs = outcome.again
            headers["retries"] = request.retries + 1
    finally:
        eager_steps.reset(token)


def _run_once(
    task: Runnable, request: Request, body: Callable[..., Any], lifecycle: Lifecycle, throw: bool
) -> EagerResult[Any] | Retry:
    """One try: its end, or the signal that there is to be another."""
    token = current.set(request)
    try:
        lifecycle.begin(request)
        try:
            value = body(*request.args, **request.kwargs)
        except Retry as retry:
            lifecycle.retried(request, retry)
            return retry
        except (Ignore, Reject, Snooze) as signal:
            state = next(state for kind, state in _STATES.items() if isinstance(signal, kind))
            lifecycle.ended(request, state, signal)
            return EagerResult(request.id, signal, state)
        except Exception as error:
            automatic = task.autoretry(error)
            if automatic is not None:
                lifecycle.retried(request, automatic)
                return automatic
            lifecycle.failed(request, error)
            if throw:
                raise
            return EagerResult(request.id, error, FAILURE, traceback.format_exc(), request.children)
        lifecycle.succeeded(request, value)
        return EagerResult(request.id, value, SUCCESS, children=request.children)
    finally:
        current.reset(token)


def _headers(task: Runnable, options: Mapping[str, Any]) -> dict[str, Any]:
    headers = template(task.name, "eager", options.get("ignore_result"))
    headers["id"] = headers["root_id"] = options.get("task_id") or new_id()
    parent = current.get()
    if parent is not None:
        headers["root_id"] = parent.root_id or parent.id
        headers["parent_id"] = parent.id
    apply_options(headers, options, None)
    return headers


def _as_it_is(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn
