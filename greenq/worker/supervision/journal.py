"""What the supervisor tells people."""

from __future__ import annotations

import contextlib
import sys
import time

__all__ = ["say"]


def say(text: str) -> None:
    """Tell people on standard error, in the shape of the workers' own log lines."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    # A reader that went away, or a terminal, is no reason to end.
    with contextlib.suppress(OSError):
        print(f"{stamp} WARNING greenq.supervisor: {text}", file=sys.stderr, flush=True)
