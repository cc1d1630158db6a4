"""The file that holds the command's process id, and that only one living command can hold."""

from __future__ import annotations

import contextlib
import fcntl
import os

from greenq.errors import ConfigError

__all__ = ["PidFile"]


class PidFile:
    """Made and locked at once, removed by `close`.

    The lock, not the number, says whether its owner lives: a file that a killed command left behind is
    taken over, whoever has that number now.

    Parameters:
        path: the file.

    Raises:
        ConfigError: a living command holds it, or it can't be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._fd = self._lock()
        except OSError as error:
            raise ConfigError(
                f"worker.pidfile: {path} can't be written ({error.strerror}); name another file"
            ) from error
        os.ftruncate(self._fd, 0)
        os.write(self._fd, b"%d\n" % os.getpid())

    def _lock(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            with contextlib.ExitStack() as opened:
                opened.callback(os.close, fd)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ConfigError(
                        f"worker.pidfile: {self._path} is held by a running worker{_process(fd)}; stop that "
                        "one first, or name another file"
                    ) from None
                # One that ended in between has removed the file that we opened: then there may be another.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                        opened.pop_all()
                        return fd

    def close(self) -> None:
        """Remove it."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1


def _process(fd: int) -> str:
    text = os.pread(fd, 32, 0).strip()
    return f" (process {text.decode()})" if text.isdigit() else ""
