"""The signals that the supervisor obeys, as a file that can be waited on with others."""

from __future__ import annotations

import os
import signal
from typing import Self

__all__ = ["WATCHED", "Signals"]

WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


class Signals:
    """Lets the interpreter write the number of each signal into a pipe, while entered.

    The handlers themselves do nothing. Signals that arrived before, blocked, are not lost.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """The descriptor that is readable when a signal has come."""
        return self._reader

    def take(self) -> list[int]:
        """The numbers of the signals that have come since."""
        try:
            return list(os.read(self._reader, 4096))
        except BlockingIOError:
            return []

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for signum in WATCHED:
            signal.signal(signum, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        return self

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)
