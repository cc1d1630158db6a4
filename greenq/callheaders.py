"""A call's options as the headers that say them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from greenq.errors import InvalidOption
from greenq.optionchecks import check_headers

__all__ = ["apply_options", "iso"]

_TO_HEADERS = {
    "shadow": "shadow", "retries": "retries", "ignore_result": "ignore_result", "argsrepr": "argsrepr",
    "kwargsrepr": "kwargsrepr", "root_id": "root_id", "parent_id": "parent_id", "group_id": "group",
    "group_index": "group_index",
}  # fmt: skip
"""Option of a call → the header that says it."""


def apply_options(headers: dict[str, Any], options: Mapping[str, Any], expires: float | None) -> float | None:
    """Write a call's checked options into its headers.

    Parameters:
        expires: seconds, if the call says nothing.

    Returns:
        When it is due, in seconds since the epoch; None for now.
    """
    for name, header in _TO_HEADERS.items():
        if name in options:
            headers[header] = options[name]
    hard, soft = options.get("time_limit"), options.get("soft_time_limit")
    if hard is not None or soft is not None:
        before = headers["timelimit"] or (None, None)
        headers["timelimit"] = [before[0] if hard is None else hard, before[1] if soft is None else soft]
    expires = options.get("expires", expires)
    if expires is not None:
        headers["expires"] = iso(expires if isinstance(expires, datetime) else time.time() + expires)
    due = _when_due(options)
    if due is not None:
        headers["eta"] = iso(options.get("eta", due))
    if "headers" in options:
        headers.update(check_headers(options["headers"], f"call of {headers['task']}"))
    return due


def _when_due(options: Mapping[str, Any]) -> float | None:
    """Seconds since the epoch that `eta` or `countdown` mean; None for now."""
    if "eta" in options:
        return _utc(options["eta"]).timestamp()
    countdown = options.get("countdown")
    return None if countdown is None or countdown <= 0 else time.time() + countdown


def iso(when: float | datetime) -> str:
    """A point in time as the headers carry it."""
    try:
        return (_utc(when) if isinstance(when, datetime) else datetime.fromtimestamp(when, UTC)).isoformat()
    except (ValueError, OverflowError, OSError):
        raise InvalidOption(f"{when!r} s is beyond the year 9999: give an earlier time") from None


def _utc(when: datetime) -> datetime:
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
