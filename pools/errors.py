"""What pools raise."""

from __future__ import annotations

__all__ = ["CallDied", "Killed", "PoolClosed", "PoolError", "Unsupported"]


class PoolError(Exception):
    """A pool could not do what it was asked."""


class PoolClosed(PoolError):
    """The pool is closed and takes no more calls."""


class Unsupported(PoolError):
    """This pool cannot do that; the message says why and which pool can."""


class CallDied(PoolError):
    """The process that ran the call died.

    Parameters:
        exitcode: as `subprocess` has it; negative for the number of the signal that killed it.
    """

    def __init__(self, exitcode: int | None) -> None:
        self.exitcode = exitcode
        super().__init__(f"the child process died in mid-call (exit code {exitcode})")

    def __reduce__(self) -> tuple[type[CallDied], tuple[int | None]]:
        return type(self), (self.exitcode,)


class Killed(BaseException):
    """Ends a call from outside; a BaseException so that ``except Exception`` cannot swallow it."""
