"""Exceptions as results carry them: written where the task ran, rebuilt where its result is asked for."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from greenq import errors
from greenq.errors import RemoteError

__all__ = ["ExceptionInfo", "RemoteTraceback", "describe", "plain", "rebuild", "text_of", "trace_of"]

_CELERYS: dict[tuple[str, str], type[BaseException]] = {
    ("celery.exceptions", "ChordError"): errors.ChordError,
    ("celery.exceptions", "Ignore"): errors.Ignore,
    ("celery.exceptions", "MaxRetriesExceededError"): errors.MaxRetriesExceeded,
    ("celery.exceptions", "NotRegistered"): errors.UnknownTask,
    ("celery.exceptions", "Reject"): errors.Reject,
    ("celery.exceptions", "TaskRevokedError"): errors.TaskRevoked,
    ("billiard.exceptions", "SoftTimeLimitExceeded"): errors.SoftTimeLimitExceeded,
    ("billiard.exceptions", "TimeLimitExceeded"): errors.TimeLimitExceeded,
    ("billiard.exceptions", "WorkerLostError"): errors.WorkerLost,
}
"""What a Celery worker stores, and the same in greenq."""
_AS_CELERY: dict[type[BaseException], tuple[str, str]] = {
    kind: name
    for name, kind in _CELERYS.items()
    if name[0] == "billiard.exceptions" or kind in (errors.ChordError, errors.TaskRevoked)
}
"""What befell a task from outside is stored under Celery's names: its clients find their own types."""


class RemoteTraceback(Exception):
    """The traceback from where the task ran; shown as the cause of its exception."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class ExceptionInfo:
    """An exception with its traceback as text, as Celery hands it to hooks and signals.

    Parameters:
        error: the exception.
    """

    internal = False
    """Celery's mark of an error that is not the task's."""

    def __init__(self, error: BaseException) -> None:
        self.exception = error
        self.type = type(error)
        self.tb = error.__traceback__

    @property
    def traceback(self) -> str:
        """The traceback as text."""
        return trace_of(self.exception, self.tb)

    @property
    def exc_info(self) -> tuple[type[BaseException], BaseException, TracebackType | None]:
        """The three as `sys.exc_info` gives them."""
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo {text_of(self.exception, repr)}>"


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as Celery's results carry it; its arguments are the ``exc_message``."""
    kind = type(error)
    try:
        args = list(error.args)
    except BaseException as problem:
        args = [_silent(error, problem)]
    module, name = _AS_CELERY.get(kind) or (kind.__module__, kind.__qualname__)
    return {"exc_type": name, "exc_message": args, "exc_module": module}


def text_of(error: BaseException, form: Callable[[Any], str] = str) -> str:
    """What an exception says of itself, as text that every serializer can carry.

    Its ``__str__`` and ``__repr__`` are the user's code: they may raise anything, themselves too.

    Parameters:
        form: `str` or `repr`.
    """
    try:
        return plain(form(error))
    except BaseException as problem:
        return _silent(error, problem)


def trace_of(error: BaseException, trace: TracebackType | None) -> str:
    """An exception and its traceback, from `trace` on, as text that every serializer can carry."""
    try:
        return plain("".join(traceback.format_exception(type(error), error, trace)))
    except BaseException as problem:
        return _silent(error, problem)


def plain(text: str) -> str:
    """The text without lone surrogates, which UTF-8 lacks: they are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _silent(error: BaseException, problem: BaseException) -> str:
    return f"{type(error).__name__} (showing it raised {type(problem).__name__})"


def rebuild(record: Any, traceback: str | None = None) -> Exception:
    """Make an exception of what `describe`, or Celery, wrote.

    It gets its own type if a module that is already imported has it; nothing is imported, and nothing but an
    Exception is ever made, for whoever can write to the result store chooses the names. Anything else
    becomes a `RemoteError`.

    Parameters:
        traceback: the remote one as text; it becomes the exception's cause.
    """
    error = _make(record)
    if traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error


def _make(record: Any) -> Exception:
    if isinstance(record, Exception):
        return record
    if not isinstance(record, dict) or not isinstance(record.get("exc_type"), str):
        return RemoteError("Exception", None, (record,))
    name, module = record["exc_type"], record.get("exc_module")
    module = module if isinstance(module, str) else None
    message = record.get("exc_message")
    args = tuple(message) if isinstance(message, list | tuple) else (message,)
    kind = _find(module, name)
    if kind is not None:
        made = _construct(kind, args)
        if made is not None:
            return made
    return RemoteError(name, module, args)


def _find(module: str | None, name: str) -> type[Exception] | None:
    if module is None:
        return None
    found: Any = _CELERYS.get((module, name))
    if found is None:
        found = sys.modules.get(module)
        for part in name.split("."):
            # Only what the module's or class's own dict holds: getattr could run a module's __getattr__.
            found = getattr(found, "__dict__", {}).get(part)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _construct(kind: type[Exception], args: tuple[Any, ...]) -> Exception | None:
    """An instance; None if the class makes none of these arguments."""
    for plain in (False, True):
        try:
            # The second way skips a constructor that wants something else than the stored arguments.
            error: Any = Exception.__new__(kind, *args) if plain else kind(*args)
            str(error)
        except Exception:
            continue
        if isinstance(error, Exception):
            return error
    return None
