"""Notice that another process changed the embedded database, without asking all the time.

Whoever commits something that others may wait for touches the file (`announce`), after the commit has
become visible. The log beside it is of no use as a sign: it is written before that. A death between commit
and touch is made up for by the slow look that every waiter takes anyway.
"""

from __future__ import annotations

import ctypes
import os
import sys
from abc import ABC, abstractmethod
from contextlib import suppress

from pools import native

__all__ = ["SLOWEST", "Inotify", "Polling", "Watch", "announce", "watch"]

SLOWEST = 1.0
"""Seconds after which a waiter looks anyway."""
IN_ATTRIB, IN_MOVE_SELF, IN_DELETE_SELF = 0x4, 0x800, 0x400
FIRST_PAUSE, LAST_PAUSE, BACKOFF = 0.001, 0.05, 1.05
"""How a polling waiter's pauses grow, in seconds, while nothing happens."""


class Watch(ABC):
    """Tells a waiting thread that another process changed something."""

    fd: int | None = None
    """What becomes readable then; None where the thread has to ask."""

    @abstractmethod
    def pause(self) -> float:
        """How long to wait at most before asking `changed`, in seconds."""

    @abstractmethod
    def changed(self, data_version: int) -> bool:
        """Whether something may have changed since it was last asked."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class Inotify(Watch):
    """Linux tells when the file is touched.

    Raises:
        OSError: this system has none, or no more of them.
    """

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        try:
            start, add = library.inotify_init1, library.inotify_add_watch
        except AttributeError as error:
            raise OSError("this system has no inotify") from error
        fd = int(start(os.O_NONBLOCK | os.O_CLOEXEC))
        if fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if add(fd, os.fsencode(path), IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF) < 0:
            number = ctypes.get_errno()
            os.close(fd)
            raise OSError(number, "inotify_add_watch")
        self.fd: int | None = fd
        self._read = native.original("os", "read")

    def pause(self) -> float:
        return SLOWEST

    def changed(self, data_version: int) -> bool:
        if self.fd is None:
            return False
        found = False
        with suppress(BlockingIOError):
            while self._read(self.fd, 65536):
                found = True
        return found

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


class Polling(Watch):
    """Looks at the database's change counter, less often the longer nothing happens."""

    def __init__(self) -> None:
        self._seen: int | None = None
        self._pause = FIRST_PAUSE

    def pause(self) -> float:
        self._pause = min(LAST_PAUSE, self._pause * BACKOFF)
        return self._pause

    def changed(self, data_version: int) -> bool:
        if data_version == self._seen:
            return False
        self._seen = data_version
        self._pause = FIRST_PAUSE
        return True

    def close(self) -> None:
        """It holds nothing."""


def watch(path: str) -> Watch:
    """Return the best way to watch the file that this system has."""
    if sys.platform == "linux":
        with suppress(
            OSError
        ):  # the user's inotify instances (128 by default) are used up: polling works too
            return Inotify(path)
    return Polling()


def announce(path: str) -> None:
    """Tell the other processes that something was committed."""
    with suppress(OSError):  # the file was moved away: the next transaction finds out
        os.utime(path)
