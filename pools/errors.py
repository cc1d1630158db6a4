"""What pools raise."""

from __future__ import annotations

__all__ = [
    "CallDied",
    "Killed",
    "PoolClosed",
    "PoolError",
    "RemoteFailure",
    "RemoteTraceback",
    "Unsupported",
]


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


class RemoteFailure(PoolError):
    """Stands in for an exception of another process that cannot be pickled or cannot be imported here.

    Parameters:
        kind: the exception's type, as module.name.
        text: what it said.
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        super().__init__(f"{kind}: {text}")

    def __reduce__(self) -> tuple[type[RemoteFailure], tuple[str, str]]:
        return type(self), (self.kind, self.text)


class RemoteTraceback(Exception):
    """The cause of an exception that another process raised: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return f"\n{self.text}"


class Killed(BaseException):
    """Ends a call from outside; a BaseException so that ``except Exception`` cannot swallow it."""
