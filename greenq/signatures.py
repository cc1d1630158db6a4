"""Do these arguments fit this function? Asked at every call, so the answer is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from greenq.shortrepr import shortrepr

__all__ = ["checker", "explain"]


def checker(fn: Callable[..., Any]) -> Callable[..., None] | None:
    """A function with the same parameters that does nothing; calling it raises TypeError where `fn` would.

    The interpreter's own call is twenty times as fast as `inspect.Signature.bind`.

    Returns:
        None if the signature cannot be known (some built-in functions); then nothing is checked.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return None
    # Names only: a default's value is irrelevant, and annotations must not be evaluated.
    bare = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else None) for p in parameters
    ]
    made: Callable[..., None] = eval(f"lambda {str(inspect.Signature(bare))[1:-1]}: None")
    return made


def explain(task: str, fn: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> str:
    """What is wrong with the arguments of a call, in one line."""
    signature = inspect.signature(fn)
    problem = "they do not fit"
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = str(error)
    shown = signature.replace(return_annotation=signature.empty)
    given = f"args {shortrepr(args, 200)} and kwargs {shortrepr(dict(kwargs), 200)}"
    return f"{task}{shown} cannot be called with {given}: {problem}"
