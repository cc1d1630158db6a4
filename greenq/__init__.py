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
    "Batch": "batches",
    "BatchItem": "batches",
    "Call": "call",
    "ChordError": "errors",
    "EagerResult": "eagerresult",
    "GreenQ": "app",
    "GreenqError": "errors",
    "GroupResult": "resultset",
    "GroupStampingVisitor": "canvas.stamping",
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
    "ResultSet": "resultset",
    "ResultTimeout": "errors",
    "Retry": "errors",
    "Signature": "canvas.signature",
    "Snooze": "errors",
    "SoftTimeLimitExceeded": "errors",
    "StampingVisitor": "canvas.stamping",
    "Task": "task",
    "TaskRevoked": "errors",
    "TimeLimitExceeded": "errors",
    "Worker": "worker.worker",
    "WorkerLost": "errors",
    "allow_join_result": "joining",
    "chain": "canvas.chain",
    "chord": "canvas.chord",
    "chunks": "canvas.maps",
    "group": "canvas.group",
    "maybe_signature": "canvas.signature",
    "shared_task": "shared",
    "signature": "canvas.signature",
    "xmap": "canvas.maps",
    "xstarmap": "canvas.maps",
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
