"""When and with what a task runs again: Celery's rules for `Task.retry` and `autoretry_for`."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from greenq.errors import Retry

__all__ = ["backoff", "merge_arguments", "signal"]


def backoff(factor: float, retries: int, maximum: float, jitter: bool) -> float:
    """Seconds to wait before a retry: doubled each time, bounded, and by default anything up to that.

    Parameters:
        factor: seconds before the first retry.
        retries: how many there were.
        maximum: seconds.
        jitter: choose evenly from 0 to the full wait, so that many failed tasks do not return together.

    Source: celery/utils/time.py, ``get_exponential_backoff_interval``.
    """
    # The exponent is bounded so that a task retried for months does not compute a huge number.
    wait = min(maximum, factor * 2 ** min(retries, 64))
    return random.uniform(0, wait) if jitter else wait


def signal(exc: BaseException | None, when: float | datetime) -> Retry:
    """The exception that says when a task runs again, and why."""
    text = f"Retry in {when:g} s" if isinstance(when, int | float) else f"Retry at {when.isoformat()}"
    return Retry(text if exc is None else f"{text}: {exc!r:.500}", exc, when)


def merge_arguments(
    run: Callable[..., Any],
    now: tuple[Any, Mapping[str, Any]],
    args: Any,
    kwargs: Mapping[str, Any] | None,
) -> tuple[Any, Mapping[str, Any] | None]:
    """What the next run gets if only `args`, or only `kwargs`, were given to `Task.retry`.

    The other kind is kept, but for what the given one replaces: ``retry(kwargs={"x": 2})`` changes an `x`
    that had been passed by position.

    Parameters:
        run: the task's function.
        now: args and kwargs of the running call.

    Returns:
        args and kwargs, None for what is kept.
    """
    if (args is None) == (kwargs is None):
        return args, kwargs
    try:
        parameters = inspect.signature(run).parameters
    except (TypeError, ValueError):
        return args, kwargs
    by_position = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if args is not None:
        replaced = {p.name for p in by_position[: len(args)] if p.kind is p.POSITIONAL_OR_KEYWORD}
        kept = {name: value for name, value in now[1].items() if name not in replaced}
        return args, None if len(kept) == len(now[1]) else kept
    assert kwargs is not None
    args = list(now[0])
    rest = dict(kwargs)
    for place, parameter in enumerate(by_position[: len(args)]):
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name in rest:
            args[place] = rest.pop(parameter.name)
    return tuple(args), rest
