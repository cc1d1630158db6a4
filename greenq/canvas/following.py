"""What follows a call that ran where it was made: its callbacks, errbacks and the rest of its chain."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from greenq.canvas.signature import Signature, maybe_signature
from greenq.eagerresult import EagerResult
from greenq.message import FAILURE, SUCCESS
from greenq.optionchecks import listed
from greenq.sender import Sender

__all__ = ["FOLLOWING", "follow"]

FOLLOWING = frozenset({"link", "link_error", "chain"})
"""Options of a call that say what follows it."""


def follow(app: Sender, options: Mapping[str, Any], result: EagerResult[Any]) -> None:
    """Call what follows a result: run here with ``tasks.eager``, sent otherwise, as Celery does.

    Parameters:
        options: of the call that has ended.
    """
    if result.state == SUCCESS:
        for callback in listed(options.get("link")):
            maybe_signature(callback, app=app, clone=True).apply_async((result.result,))
        steps = listed(options.get("chain"))
        if steps:
            following = maybe_signature(steps.pop(), app=app, clone=True)
            following.apply_async((result.result,), chain=steps or None)
    elif result.state == FAILURE:
        for errback in listed(options.get("link_error")):
            _call_errback(maybe_signature(errback, app=app, clone=True), result)


def _call_errback(errback: Any, result: EagerResult[Any]) -> None:
    """Call it with the failed task's id; or, if it takes more than one argument, with what is known."""
    task = errback.app.tasks.get(errback.task)
    if task is not None and type(errback) is Signature and _takes_three(task.run, errback):
        task.run(result, result.result, result.traceback, *errback.args, **errback.kwargs)
    else:
        errback.apply_async((result.id,))


def _takes_three(function: Any, errback: Signature) -> bool:
    if errback.immutable:
        return False
    try:
        inspect.signature(function).bind(None, None, None, *errback.args, **errback.kwargs)
    except (TypeError, ValueError):
        return False
    return True
