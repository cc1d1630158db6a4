"""A distributed task queue and green-thread worker runtime that speaks Celery's wire protocol.

    >>> from greenq import GreenQ
    >>> app = GreenQ("shop", broker="memory://manual")

The names are imported when they are first used: the worker's command must be able to make the standard
library green before anything else is imported. What types they have is in ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "AsyncResult": "asyncresult",
    "Call": "call",
    "ChordError": "errors",
    "EagerResult": "eagerresult",
    "GreenQ": "app",
    "GreenqError": "errors",
    "Ignore": "errors",
    "InvalidOption": "errors",
    "InvalidTaskArguments": "errors",
    "MaxRetriesExceeded": "errors",
    "Middleware": "middleware",
    "PartlySent": "errors",
    "PublishError": "errors",
    "PublishTimeout": "errors",
    "Reject": "errors",
    "RemoteError": "errors",
    "Request": "request",
    "ResultTimeout": "errors",
    "Retry": "errors",
    "Snooze": "errors",
    "SoftTimeLimitExceeded": "errors",
    "Task": "task",
    "TaskRevoked": "errors",
    "TimeLimitExceeded": "errors",
    "Worker": "worker.worker",
    "WorkerLost": "errors",
    "allow_join_result": "joining",
    "shared_task": "shared",
}
"""Public name → the module that has it."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if name == "__version__":
        return _version()
    if home is None:
        raise AttributeError(f"module 'greenq' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"greenq.{home}"), name)
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("greenq")
    except PackageNotFoundError:
        # A source tree on the path that is not installed.
        return "0"


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
