"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE", "until"]

PATIENCE = 120.0
"""Seconds that something may take on a machine that is busy with other tests."""


def until(condition: Callable[[], object], what: str = "it", patience: float = PATIENCE) -> None:
    """Wait until something is true.

    Parameters:
        what: names the condition in the error.
        patience: seconds.

    Raises:
        AssertionError: it is still not true after that time.
    """
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {patience:g} s"
        time.sleep(0.01)
