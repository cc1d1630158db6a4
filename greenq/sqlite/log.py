"""Keeps the database's log short.

SQLite copies the log into the file by itself, but begins the log anew only if nobody has written meanwhile:
with several busy processes it would grow for as long as they are busy, and each commit would try again.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from greenq.sqlite.session import Session

__all__ = ["Log"]

PAGE = 4096
PAGES = 4000
"""How long the log may become, about, before it is begun anew: 16 MiB."""
COMMITS = 256
CHANGES = 5000
"""After so many commits or changed rows of its own, or a log's length of content, a process takes a look."""
PATIENCE = 100
"""Milliseconds to wait for the others, who must all have looked away for a moment."""
LENGTH = PAGES * PAGE


class Log:
    """One process's part in keeping the log short.

    Parameters:
        path: of the database.

    Attributes:
        commits: how many there were since the last look.
        enough: the connection's changes at which the next look is due.
    """

    def __init__(self, path: str) -> None:
        self._path = path + "-wal"
        self.commits = 0
        self.enough = CHANGES

    def look(self, session: Session) -> None:
        """See to the log: due after `COMMITS` commits, at `enough` changes, or `LENGTH` bytes written."""
        self.commits, self.enough, session.written = 0, session.connection.total_changes + CHANGES, 0
        with suppress(
            OSError, sqlite3.Error
        ):  # another process is at it, or the disk is full: the next one will
            if os.stat(self._path).st_size >= LENGTH:
                self._shorten(session)

    @staticmethod
    def _shorten(session: Session) -> None:
        _, pages, _ = session.rows("PRAGMA wal_checkpoint(PASSIVE)")[0]
        if pages >= PAGES:
            session.rows(f"PRAGMA busy_timeout = {PATIENCE}")
            try:
                session.rows("PRAGMA wal_checkpoint(RESTART)")
            finally:
                session.rows("PRAGMA busy_timeout = 0")
