"""Celery's exceptions as greenq's runner understands them, and greenq's, as Celery's applications do."""

from __future__ import annotations

from typing import Any

from billiard import exceptions as billiard  # type: ignore[import-untyped]
from celery import exceptions as celery  # type: ignore[import-untyped]

from greenq import errors
from greenq.errors import GreenqError, Ignore, Reject, Retry, TaskSignal

__all__ = ["ENDS", "AdoptedSignal", "SoftTimeLimitExceeded", "as_celery", "translated"]

ENDS = (celery.Retry, celery.Ignore, celery.Reject)
"""What a task raises to choose its end."""


class SoftTimeLimitExceeded(errors.SoftTimeLimitExceeded, billiard.SoftTimeLimitExceeded):  # type: ignore[misc]
    """Raised in an adopted task at its soft limit: the type that its code catches, and the one of greenq."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _soft, self.args


def _soft(*args: Any) -> SoftTimeLimitExceeded:
    return SoftTimeLimitExceeded(*args)


# Results and pickles carry the name that every Celery client knows.
SoftTimeLimitExceeded.__module__ = billiard.SoftTimeLimitExceeded.__module__


class AdoptedSignal(TaskSignal):
    """What all of ours have in common.

    Attributes:
        original: what the task raised.
    """

    original: BaseException


class AdoptedRetry(AdoptedSignal, Retry):
    """A `celery.exceptions.Retry`: Celery's own code has sent the next call already."""

    def __init__(self, original: celery.Retry) -> None:
        Retry.__init__(self, str(original), original.exc, original.when)
        self.sent = True
        self.original = original


class AdoptedIgnore(AdoptedSignal, Ignore):
    """A `celery.exceptions.Ignore`."""

    def __init__(self, original: celery.Ignore) -> None:
        GreenqError.__init__(self, str(original) or None)
        self.original = original


class AdoptedReject(AdoptedSignal, Reject):
    """A `celery.exceptions.Reject`."""

    def __init__(self, original: celery.Reject) -> None:
        Reject.__init__(self, original.reason, bool(original.requeue))
        self.original = original
        self.failure = None if self.requeue else original


def translated(error: BaseException) -> AdoptedSignal:
    """One of `ENDS` as the signal that greenq's runner acts on."""
    if isinstance(error, celery.Retry):
        return AdoptedRetry(error)
    if isinstance(error, celery.Reject):
        return AdoptedReject(error)
    return AdoptedIgnore(error)


def as_celery(error: BaseException) -> BaseException:
    """What an adopted application is told has gone wrong: what it raised, or Celery's name for our error."""
    if isinstance(error, AdoptedSignal):
        return error.original
    for kind, theirs in _THEIRS:
        if isinstance(error, kind):
            told: BaseException = theirs(*error.args)
            return told
    return error


_THEIRS = (
    (errors.TimeLimitExceeded, billiard.TimeLimitExceeded),
    (errors.WorkerLost, billiard.WorkerLostError),
    (errors.TaskRevoked, celery.TaskRevokedError),
)
"""What befalls a task from outside, and its name in Celery."""
