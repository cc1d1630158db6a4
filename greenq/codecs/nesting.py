"""How deep, and of how many lists and dicts, a decoded value may be, whatever serializer brought it."""

from __future__ import annotations

from typing import Any

from greenq.errors import BodyTooLarge, DecodeError

__all__ = ["CONTAINER", "MAX_DEPTH", "check_depth", "too_deep", "too_many"]

MAX_DEPTH = 500
"""Levels. A definite bound, as the interpreter's own differs by version and by how deep the caller is."""
CONTAINER = 96
"""About how many bytes an empty list or dict takes: one or two in the body become so many in memory, so
a body may hold ``max_size / 96`` of them."""


def check_depth(value: Any, name: str) -> None:
    """Refuse a value nested deeper than `MAX_DEPTH`; walks level by level, without recursion.

    Raises:
        DecodeError: it is.
    """
    level = [value] if isinstance(value, (list, dict)) else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is list or type(inner) is dict
        ]
    raise too_deep(name)


def too_deep(name: str, levels: int = MAX_DEPTH) -> DecodeError:
    """The error of a body nested too deep."""
    return DecodeError(f"the {name} body is nested too deep: at most {levels} levels are decoded")


def too_many(name: str, max_size: int) -> BodyTooLarge:
    """The error of a body that holds too many lists and dicts."""
    return BodyTooLarge(
        f"the {name} body has so many lists and dicts that it would fill more than the {max_size} bytes "
        "allowed: raise tasks.max_body"
    )
