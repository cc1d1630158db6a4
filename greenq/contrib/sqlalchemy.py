"""SQLAlchemy: no task keeps a session or a connection."""

from __future__ import annotations

import weakref
from typing import Any

from sqlalchemy import AdaptedConnection, event
from sqlalchemy.orm import scoped_session
from sqlalchemy.pool import Pool, PoolProxiedConnection

from greenq.contrib.psycopg import cancel_what_is_interrupted, close
from greenq.middleware import Middleware
from greenq.request import Request, current

__all__ = ["ReleaseConnections"]


class ReleaseConnections(Middleware):
    """After each task, removes scoped sessions, and returns to its pool what the task checked out and kept.

    It sees the connections of every engine in the process, but not those of async engines: coroutines
    release theirs with ``async with``.

        >>> from sqlalchemy import create_engine
        >>> from sqlalchemy.orm import scoped_session, sessionmaker
        >>> from greenq import GreenQ
        >>> Session = scoped_session(sessionmaker(create_engine("sqlite://")))
        >>> app = GreenQ("shop", broker="memory://manual", middleware=[ReleaseConnections(Session)])

    Parameters:
        sessions: registries of sessions that tasks use.
    """

    def __init__(self, *sessions: scoped_session[Any]) -> None:
        self._sessions = sessions
        self._held: dict[int, dict[int, weakref.ref[PoolProxiedConnection]]] = {}
        """Runs, by the identity of their request → connections, by that of their record."""
        cancel_what_is_interrupted()
        event.listen(Pool, "checkout", self._checked_out)
        event.listen(Pool, "checkin", self._checked_in)
        event.listen(Pool, "invalidate", self._invalidated)

    def after_run(self, request: Request, value: Any, error: BaseException | None) -> None:
        """Release whatever is left."""
        try:
            for session in self._sessions:
                session.remove()
        finally:
            held = self._held.get(id(request), {})
            while held:
                _, reference = held.popitem()
                connection = reference()
                if connection is not None and connection.is_valid:
                    connection.close()
            self._held.pop(id(request), None)

    # ── what SQLAlchemy's pools tell ─────────────────────────────────────────────────────────────────────

    def _checked_out(self, dbapi: Any, record: Any, connection: PoolProxiedConnection) -> None:
        request = current.get()
        if request is not None and not isinstance(dbapi, AdaptedConnection):
            record.info["greenq"] = id(request)
            self._held.setdefault(id(request), {})[id(record)] = weakref.ref(connection)

    def _checked_in(self, dbapi: Any, record: Any) -> None:
        run = record.info.pop("greenq", None)
        held = self._held.get(run)
        if held is not None:
            held.pop(id(record), None)

    def _invalidated(self, dbapi: Any, record: Any, error: BaseException | None) -> None:
        """It will be closed: close it so that the next one finds room on the server."""
        if current.get() is not None and type(dbapi).__module__.partition(".")[0] == "psycopg":
            close(dbapi)
