"""Every error that greenq raises on purpose: one root, a shallow tree, each message saying what to do.

The first line of each class's docstring is its default message.
Errors that end a task from outside (`Killed`, raised by `pools`) derive from BaseException instead,
so that a user's ``except Exception`` cannot swallow them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "AlreadyQueued",
    "AppError",
    "BodyTooLarge",
    "BrokerError",
    "BrokerUnreachable",
    "ChordError",
    "ConfigError",
    "DecodeError",
    "EncodeError",
    "GreenqError",
    "Ignore",
    "IncompleteStream",
    "InvalidOption",
    "InvalidTaskArguments",
    "MaxRetriesExceeded",
    "MessageError",
    "NotPatched",
    "PartlySent",
    "PublishError",
    "PublishTimeout",
    "Reject",
    "RemoteError",
    "ResultStoreError",
    "ResultTimeout",
    "Retry",
    "SerializerRefused",
    "Snooze",
    "SoftTimeLimitExceeded",
    "TaskRevoked",
    "TaskSignal",
    "TimeLimitExceeded",
    "UnknownTask",
    "WorkerLost",
]


class GreenqError(Exception):
    """greenq could not go on."""

    def __init__(self, message: str | None = None, *args: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0], *args)


# ── configuration and start ──────────────────────────────────────────────────────────────────────────────


class ConfigError(GreenqError):
    """The configuration has a mistake."""


class AppError(GreenqError):
    """The application could not be loaded."""


class NotPatched(GreenqError):
    """The standard library must be made green before the worker starts."""


# ── messages and codecs ──────────────────────────────────────────────────────────────────────────────────


class MessageError(GreenqError):
    """The message cannot be understood; it goes to the dead-letter queue."""


class DecodeError(MessageError):
    """The body cannot be decoded."""


class SerializerRefused(DecodeError):
    """The body's content type is not in `accept`."""


class BodyTooLarge(DecodeError):
    """The decoded body would be larger than the limit."""


class UnknownTask(MessageError):
    """No task of this name is registered in this worker."""


class EncodeError(GreenqError):
    """The value cannot be encoded by the chosen serializer."""


class InvalidOption(GreenqError, TypeError, ValueError):
    """A task or a call was given an option that there is not, or a value that it cannot have."""


class InvalidTaskArguments(GreenqError, TypeError):
    """The arguments do not fit the task's signature."""


# ── brokers and result stores ────────────────────────────────────────────────────────────────────────────


class BrokerError(GreenqError):
    """The broker refused or failed."""


class BrokerUnreachable(BrokerError):
    """The broker cannot be reached."""


class PublishError(BrokerError):
    """The broker did not take the message; nothing was sent."""


class PublishTimeout(PublishError):
    """The broker did not confirm in time; the message may have arrived."""


class AlreadyQueued(GreenqError):
    """A unique task like this one has not ended yet; nothing was sent.

    Parameters:
        task_id: the id of that one.
    """

    def __init__(self, message: str, task_id: str) -> None:
        self.task_id = task_id
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.task_id)


class PartlySent(PublishError):
    """Some of the calls were not sent.

    Parameters:
        sent: the results of the calls that were.
        failed: each call that was not, with its error (`PublishTimeout`: it may have arrived).
    """

    def __init__(self, message: str, sent: list[Any], failed: list[tuple[Any, GreenqError]]) -> None:
        self.sent = sent
        self.failed = failed
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.sent, self.failed)


class ResultStoreError(GreenqError):
    """The result store refused or failed."""


class ChordError(GreenqError):
    """A member of the chord failed, or its body could not be sent."""

    member: str | None = None
    """The id of the member that failed, in the process that found out."""
    called: frozenset[str] = frozenset()
    """The errbacks that were called for that member, if it is the body of a chord that failed."""


class ResultTimeout(GreenqError, TimeoutError):
    """The result did not arrive in time; the task may still be running."""


class IncompleteStream(GreenqError):
    """A result's children are not known: its task has not ended."""


# ── how a task ends ──────────────────────────────────────────────────────────────────────────────────────


class TaskSignal(GreenqError):
    """Raised inside a task to choose its end, as Celery's task predicates are."""


class Ignore(TaskSignal):
    """The task's end is not recorded; its message is acknowledged."""


class Reject(TaskSignal):
    """The task's message is refused: requeued, or dead-lettered.

    Parameters:
        reason: why, kept with the dead letter.
        requeue: put the message back at once instead.

    Attributes:
        failure: what is stored as the task's failure; None, and nothing is, but for adopted tasks.
    """

    failure: BaseException | None = None

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(str(reason) if reason is not None else None, requeue)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.requeue)


class Retry(TaskSignal):
    """The task runs again later.

    Parameters:
        message: shown in logs.
        exc: the exception that asked for the retry.
        when: seconds from now (a number) or the point in time, as Celery's attribute of that name.

    Attributes:
        is_eager: the task runs eagerly (`Task.apply`).
        publish: the message of the next run, which the worker sends; None for a task that runs eagerly.
        sent: that message is on its way already (``throw=False``).
        again: what the next run gets, as ``(args, kwargs)``.
    """

    def __init__(
        self, message: str | None = None, exc: BaseException | None = None, when: Any = None
    ) -> None:
        self.exc = exc
        self.when = when
        self.is_eager = False
        self.sent = False
        self.publish: Any = None
        self.again: tuple[Any, Any] = ((), {})
        super().__init__(message)


class Snooze(TaskSignal):
    """The task is put back until later; that is no retry and spends none.

    Parameters:
        countdown: seconds from now.
        eta: a point in time instead (without a zone it is UTC).
    """

    def __init__(self, countdown: float | None = None, eta: datetime | None = None) -> None:
        if (countdown is None) == (eta is None):
            raise InvalidOption("Snooze takes countdown (seconds) or eta (a datetime), and not both")
        if countdown is not None and not -1e10 < countdown < 1e10:
            raise InvalidOption(f"Snooze: countdown must be a number of seconds, not {countdown!r:.80}")
        self.countdown = countdown
        self.eta = eta
        super().__init__(
            f"snoozes for {countdown:g} s" if eta is None else f"snoozes until {eta.isoformat()}"
        )

    @property
    def due(self) -> float:
        """When it is to run again, in seconds since the epoch."""
        if self.eta is None:
            return time.time() + (self.countdown or 0.0)
        return (self.eta if self.eta.tzinfo is not None else self.eta.replace(tzinfo=UTC)).timestamp()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.countdown, self.eta)


class MaxRetriesExceeded(GreenqError):
    """The task used up its retries."""


class SoftTimeLimitExceeded(Exception):
    """Raised inside a task that ran longer than its soft time limit.

    An ordinary Exception, as Celery's is, so that cleanup and `autoretry_for` work.
    """

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args}"


class TimeLimitExceeded(GreenqError):
    """The task ran longer than its hard time limit (seconds in ``args[0]``) and was ended."""

    def __init__(self, *args: Any) -> None:
        Exception.__init__(self, *args)

    def __str__(self) -> str:
        return f"TimeLimitExceeded{self.args}"


class TaskRevoked(GreenqError):
    """The task was revoked."""


class WorkerLost(GreenqError):
    """The process that ran the task died."""


class RemoteError(GreenqError):
    """Stands in for an exception of a task whose own type cannot be imported here.

    Parameters:
        exc_type: the original type's name.
        exc_module: the module that defines it.
        exc_args: its arguments, as far as the serializer kept them.
    """

    def __init__(self, exc_type: str, exc_module: str | None = None, exc_args: tuple[Any, ...] = ()) -> None:
        self.exc_type = exc_type
        self.exc_module = exc_module
        self.exc_args = exc_args
        where = f"{exc_module}.{exc_type}" if exc_module else exc_type
        super().__init__(f"{where}{exc_args!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.exc_type, self.exc_module, self.exc_args)
