"""Where runs are written, and the last of them found."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.place import Failed

__all__ = ["latest", "new", "read", "write"]

HOME = Path(__file__).parent / "results"


def new(name: str) -> Path:
    """Give the path of a file that is to be written, named by the time."""
    HOME.mkdir(exist_ok=True)
    return HOME / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"


def write(path: Path, data: Any) -> None:
    """Write plain data; a file that was there is there whole until the new one is."""
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(data, indent=1) + "\n")
    partial.replace(path)


def latest(name: str) -> Path:
    """Find the last one.

    Raises:
        Failed: there is none.
    """
    found = sorted(HOME.glob(f"{name}-*.json"))
    if not found:
        raise Failed(
            f"nothing was measured yet: {HOME} has no {name}-*.json; run `python -m benchmarks` first"
        )
    return found[-1]


def read(path: Path) -> Any:
    """Read one back.

    Raises:
        Failed: it can't be read.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Failed(f"{path} can't be read: {error}") from error
