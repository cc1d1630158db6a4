"""What can go wrong with the embedded database, in words that say what to do."""

from __future__ import annotations

import sqlite3

from greenq.serverfailures import Failure, Late, Unreachable

__all__ = ["Failure", "Late", "Unreachable", "explain", "is_busy"]


ADVICE: dict[int, str] = {
    sqlite3.SQLITE_FULL: "the disk is full: make room",
    sqlite3.SQLITE_READONLY: "it cannot be written: let this user write to the file and its directory",
    sqlite3.SQLITE_PERM: "it may not be opened: give this user permission to the file and its directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check the path, its permissions, the limit of open files",
    sqlite3.SQLITE_CORRUPT: "it is damaged: stop its users, then rescue what is readable with "
    "`sqlite3 FILE .recover`, or move it away",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database: choose another path, or move the file away",
    sqlite3.SQLITE_IOERR: "reading or writing it failed: check the disk and the system's log",
    sqlite3.SQLITE_TOOBIG: "a message or result is larger than SQLite takes (1 GB)",
}
"""Primary result code → what to do about it."""


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds what was needed, so that trying again helps."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.OperationalError) and code in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )


def explain(path: str, error: Exception, committing: bool = False) -> Failure:
    """Translate what the database module raised.

    Parameters:
        path: of the file, for the message.
        committing: it was raised by the commit itself, so that only a full disk is known to have undone it.
    """
    if isinstance(error, Failure):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    uncertain = committing and code != sqlite3.SQLITE_FULL
    advice = ADVICE.get(code) or f"{type(error).__name__}: {error}"
    kind = Unreachable if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM) else Failure
    return kind(f"{path}: {advice}", uncertain)
