"""Django: no task keeps a database connection."""

from __future__ import annotations

import threading
from typing import Any

from django.db import connections  # type: ignore[import-untyped]

from greenq.contrib.psycopg import cancel_what_is_interrupted
from greenq.middleware import Middleware
from greenq.request import Request

__all__ = ["CloseConnections"]


class CloseConnections(Middleware):
    """Closes after each task the connections that it opened; with Django's pool they go back to it.

    An application that has configured Django gets it without asking. Where tasks follow each other in one
    thread (the prefork and solo pools) a connection is kept for the next one as long as ``CONN_MAX_AGE``
    says; elsewhere the next task could not find it, so it is closed.
    """

    def __init__(self) -> None:
        cancel_what_is_interrupted()

    def before_run(self, request: Request) -> None:
        """Drop a kept connection that is too old or has broken meanwhile."""
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()

    def after_run(self, request: Request, value: Any, error: BaseException | None) -> None:
        """Close what is open, or is not to be kept."""
        reused = threading.current_thread() is threading.main_thread()
        for connection in connections.all(initialized_only=True):
            if reused and error is None:
                connection.close_if_unusable_or_obsolete()
            else:
                connection.close()
