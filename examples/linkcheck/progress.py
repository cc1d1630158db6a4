"""One line on a terminal that says how far the check is."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

__all__ = ["Progress"]


class Progress:
    """Draws the line; draws nothing where nobody watches.

    Parameters:
        stream: usually standard error.
        shown: draw at all; by default if `stream` is a terminal.
    """

    def __init__(self, stream: TextIO, shown: bool | None = None) -> None:
        self._stream = stream
        self._shown = stream.isatty() if shown is None else shown
        self._began = time.monotonic()
        self._drawn = False

    def show(self, done: int, known: int, waiting: int) -> None:
        """Draw how many addresses are done of those known so far, and how many of them are in flight."""
        if not self._shown:
            return
        self._drawn = True
        seconds = time.monotonic() - self._began
        text = f" {done:,} of {known:,} addresses, {waiting:,} in flight, {seconds:.1f} s"
        width = min(40, shutil.get_terminal_size().columns - len(text) - 3)
        filled = width * done // max(1, known)
        bar = f"[{'#' * filled}{'.' * (width - filled)}]" if width >= 10 else ""
        self._stream.write(f"\r{bar}{text}\033[K")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown and self._drawn:
            self._stream.write("\r\033[K")
            self._stream.flush()
