"""Run a call where it is made, as a worker would: `Task.apply`."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from greenq.callheaders import apply_options
from greenq.composer import new_id
from greenq.eagerresult import EagerResult
from greenq.errors import Ignore, Reject, Retry
from greenq.message import FAILURE, REJECTED, SUCCESS
from greenq.protocol import EMBED, TaskCall, template
from greenq.request import Request, current
from greenq.shortrepr import shortrepr

__all__ = ["run"]

IGNORED = "IGNORED"
"""Celery's state of a call that raised Ignore; it is never stored."""


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
    retries = headers["retries"]
    while True:
        headers["retries"] = retries
        headers["argsrepr"], headers["kwargsrepr"] = shortrepr(args), shortrepr(kwargs)
        request = Request(TaskCall(args, kwargs, EMBED, headers), is_eager=True)
        token = current.set(request)
        try:
            value = _function(task)(*args, **kwargs)
            return EagerResult(request.id, value, SUCCESS, children=request.children)
        except Retry as retry:
            again = retry
        except Ignore as ignored:
            return EagerResult(request.id, ignored, IGNORED)
        except Reject as rejected:
            return EagerResult(request.id, rejected, REJECTED)
        except Exception as error:
            automatic = task.autoretry(error)
            if automatic is None:
                if throw:
                    raise
                return EagerResult(request.id, error, FAILURE, traceback.format_exc(), request.children)
            again = automatic
        finally:
            current.reset(token)
        args, kwargs = again.again
        retries += 1


def _headers(task: Runnable, options: Mapping[str, Any]) -> dict[str, Any]:
    headers = template(task.name, "eager", options.get("ignore_result"))
    headers["id"] = headers["root_id"] = options.get("task_id") or new_id()
    parent = current.get()
    if parent is not None:
        headers["root_id"] = parent.root_id or parent.id
        headers["parent_id"] = parent.id
    apply_options(headers, options, None)
    return headers


def _function(task: Runnable) -> Callable[..., Any]:
    if not task.is_coroutine:
        return task.run
    from pools.coroutines import bind

    return bind(task.run)
