"""Durations and sizes as people write them: ``30s``, ``250ms``, ``64KiB``."""

from __future__ import annotations

import math
import re

from greenq.config.mistakes import Wrong

__all__ = [
    "BYTES_FORM",
    "LARGEST",
    "LONGEST",
    "SECONDS_FORM",
    "read_bytes",
    "read_seconds",
    "write_bytes",
    "write_seconds",
]

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip

SECONDS_FORM = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)?$"
BYTES_FORM = r"^[0-9]+(\.[0-9]+)?(B|[kKMG]B|[KMG]iB)?$"

LONGEST = 100 * 365 * SECONDS["d"]
"""A century; what is longer overflows the timers of the platform."""
LARGEST = 2**50

_SPOKEN_SECONDS = {
    "msec": "ms", "msecs": "ms", "millis": "ms", "millisecond": "ms", "milliseconds": "ms",
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d",
}  # fmt: skip
_PARTS = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)")


def read_seconds(text: str) -> float:
    """Read a duration.

    Parameters:
        text: a number, and one of ms, s, m, h, d; seconds without.

    Returns:
        Seconds.

    Raises:
        Wrong: it is none; says what to write.
    """
    number, unit, tight = _split(text)
    if tight and unit in SECONDS:
        # 250 * 0.001 has a tail that no one wrote.
        return round(float(number) * SECONDS[unit], 9)
    if tight and not unit:
        return float(number)
    meant = _SPOKEN_SECONDS.get(unit.lower()) or (unit.lower() if unit.lower() in SECONDS else "")
    raise Wrong("must be a time such as 30s, 5m, 1h, 1d or 250ms", f"write {number}{meant}" if meant else "")


def read_bytes(text: str) -> int:
    """Read a size.

    Parameters:
        text: a number, and one of B, KB, MB, GB (powers of 1000), KiB, MiB, GiB (of 1024); bytes without.

    Returns:
        Bytes.

    Raises:
        Wrong: it is none, or no whole number of bytes; says what to write.
    """
    number, unit, tight = _split(text)
    if tight and (not unit or unit in BYTES):
        size = (float(number) if "." in number else int(number)) * BYTES.get(unit, 1)
        if size != int(size):
            raise Wrong("must be a whole number of bytes", f"write {math.ceil(size)}")
        return int(size)
    meant = {"b": "B", "k": "KiB", "m": "MiB", "g": "GiB"}.get(unit[:1].lower(), "") if len(unit) <= 3 else ""
    raise Wrong("must be a size such as 4096, 64KiB or 10MB", f"write {number}{meant}" if meant else "")


def write_seconds(seconds: float) -> str:
    """Write a duration in the largest unit that leaves a whole number."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = seconds / SECONDS[unit]
        if seconds and count >= 1 and math.isclose(count, round(count), rel_tol=1e-12):
            return f"{round(count)}{unit}"
    return f"{seconds:g}s"


def write_bytes(size: int) -> str:
    """Write a size in the largest binary unit that leaves a whole number."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % BYTES[unit] == 0:
            return f"{size // BYTES[unit]}{unit}"
    return str(size)


def _split(text: str) -> tuple[str, str, bool]:
    """The number and the unit, and whether nothing stands between them."""
    found = _PARTS.fullmatch(text)
    number, unit = found.groups() if found else ("", "")
    return number, unit, found is not None and text == number + unit
