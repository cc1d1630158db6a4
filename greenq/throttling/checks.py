"""Can the options of uniqueness, rates and slots have these values?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenq.throttling.rules import rate

__all__ = ["CALL", "DECLARED"]

LONGEST = 1e9


def _by(value: Any) -> str | None:
    if callable(value) or (isinstance(value, str) and value):
        return None
    fits = isinstance(value, list | tuple) and value and all(isinstance(one, str) and one for one in value)
    return None if fits else "an argument's name, a list of them, or a function of the arguments"


def _unique(value: Any) -> str | None:
    if isinstance(value, bool) or _by(value) is None:
        return None
    return "True, False, an argument's name, a list of them, or a function of the arguments"


def _duration(value: Any) -> str | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0.001 <= value <= LONGEST
    return None if fits else "a number of seconds above 0, up to 1,000,000,000"


def _until(value: Any) -> str | None:
    return None if value in ("start", "end") else "'start' or 'end'"


def _duplicate(value: Any) -> str | None:
    return None if value in ("refuse", "return") else "'refuse' or 'return'"


def _rate(value: Any) -> str | None:
    try:
        rate(value)
    except ValueError:
        return "a rate above 0 such as '100/m' (s, m, h or d), or a number for so many in a second"
    return None


def _slots(value: Any) -> str | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000
    return None if fits else "an integer, 1 or more"


CALL: dict[str, Callable[[Any], str | None]] = {
    "unique": _unique, "unique_for": _duration, "unique_until": _until, "on_duplicate": _duplicate,
}  # fmt: skip
"""Option of a call → what is wrong with its value, or None."""

DECLARED: dict[str, tuple[Callable[[Any], str | None], bool]] = {
    "unique": (_unique, True), "unique_for": (_duration, True),
    "unique_until": (_until, False), "on_duplicate": (_duplicate, False),
    "rate_limit": (_rate, True), "rate_limit_by": (_by, True),
    "concurrency_limit": (_slots, True), "concurrency_limit_by": (_by, True),
}  # fmt: skip
"""Option of a task → the same, and whether None is allowed."""
