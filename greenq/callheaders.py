"""A call's options as the headers that say them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from greenq.errors import InvalidOption
from greenq.optionchecks import check_headers, listed
from greenq.protocol import EMBED

__all__ = ["apply_options", "embed_of", "iso", "plain"]

_TO_HEADERS = {
    "shadow": "shadow", "retries": "retries", "ignore_result": "ignore_result", "argsrepr": "argsrepr",
    "kwargsrepr": "kwargsrepr", "root_id": "root_id", "parent_id": "parent_id", "group_id": "group",
    "group_index": "group_index", "replaced_task_nesting": "replaced_task_nesting",
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
    if "stamped_headers" in options:
        names = headers["stamped_headers"] = listed(options["stamped_headers"])
        headers["stamps"] = _plain_stamps({name: options[name] for name in names if name in options}, headers)
    if "headers" in options:
        headers.update(check_headers(options["headers"], f"call of {headers['task']}"))
    return due


_EMBEDDED = {"link": "callbacks", "link_error": "errbacks", "chain": "chain", "chord": "chord"}
"""Option of a call → what the body's third part calls it."""


def embed_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """What follows a call, as its body carries it."""
    if not _EMBEDDED.keys() & options.keys():
        return EMBED
    embed = EMBED.copy()
    for option, name in _EMBEDDED.items():
        value = options.get(option)
        if value is not None:
            embed[name] = plain(value if option == "chord" else listed(value))
    return embed


def plain(value: Any) -> Any:
    """Signatures as plain dicts: some serializers know no others, and Celery's workers no classes of ours."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def _plain_stamps(stamps: dict[str, Any], headers: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        name: list(value) if isinstance(value, set | frozenset) else value for name, value in stamps.items()
    }
    check_headers({f"stamp {name}": value for name, value in made.items()}, f"call of {headers['task']}")
    return made


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
