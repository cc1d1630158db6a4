"""What can go wrong between us and the server or file that keeps messages and results.

Those who talk to it raise these, in words that say what to do; brokers, result stores and stores of limits
make errors of their own contract of them, with `Translation`.
"""

from __future__ import annotations

from copy import copy
from types import TracebackType
from typing import Self

from greenq.errors import GreenqError

__all__ = ["Closed", "Failure", "Late", "Translation", "Unreachable"]


class Failure(GreenqError):
    """The other end failed.

    Parameters:
        uncertain: whether what was asked for may have been done all the same.
    """

    def __init__(self, message: str | None = None, uncertain: bool = False) -> None:
        self.uncertain = uncertain
        super().__init__(message)

    def again(self) -> Self:
        """The same, to be raised: one that is kept for many must not keep the frames of all who met it."""
        made = copy(self)
        made.__cause__ = self.__cause__
        return made


class Unreachable(Failure):
    """The other end cannot be reached; nothing was changed there."""


class Late(Failure):
    """The other end did not answer in time."""


class Closed(Failure):
    """The client was closed."""


class Translation:
    """Raises, as a context, the errors of one contract in place of failures; one object serves all calls.

    Parameters:
        error: what a failure becomes.
        away: what it becomes if the other end cannot be reached; None: the same.
    """

    __slots__ = ("_away", "_error")

    def __init__(self, error: type[GreenqError], away: type[GreenqError] | None = None) -> None:
        self._error = error
        self._away = away or error

    def of(self, failure: Failure) -> GreenqError:
        """The contract's error for a failure."""
        return (self._away if isinstance(failure, Unreachable) else self._error)(str(failure))

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Failure):
            raise self.of(error) from error
