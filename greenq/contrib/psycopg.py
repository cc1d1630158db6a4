"""Psycopg 3: end on the server what a time limit interrupts here.

When Ctrl-C interrupts a statement, psycopg cancels it on the server; after any other exception the
connection stays in the middle of it. Such a connection can't even roll back, and when it is closed its server
process works on, and counts against ``max_connections``, until the statement has ended.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import time
from typing import Any

from greenq.errors import SoftTimeLimitExceeded
from greenq.middleware import Middleware
from pools.errors import Killed

__all__ = ["CancelStatements", "cancel_what_is_interrupted", "close"]

PATIENCE = 2.5
"""Seconds until the server must have answered: within what a task has after its hard limit."""
AGAIN = 0.2
"""Seconds until a server that has not ended the statement is asked once more."""


class CancelStatements(Middleware):
    """Lets psycopg treat a time limit as it treats Ctrl-C: the statement is cancelled on the server.

    For applications that use psycopg alone; those for Django and SQLAlchemy include it.
    """

    def __init__(self) -> None:
        cancel_what_is_interrupted()


def cancel_what_is_interrupted() -> None:
    """Let every connection of this process cancel its statement when a task's limit interrupts it.

    It does nothing where psycopg is not installed.
    """
    try:
        from psycopg import Connection
    except ImportError:
        return
    original = Connection.wait
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def wait(self: Any, gen: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, gen, *args, **kwargs)
        except (Killed, SoftTimeLimitExceeded):
            _cancel(self, gen)
            raise

    Connection.wait = wait  # type: ignore[method-assign]
    _let_pools_see_kills()


def _let_pools_see_kills() -> None:
    """Let who is killed while it waits for a connection of a pool leave the pool's queue.

    psycopg_pool does that for ordinary exceptions only; the connection that comes for the dead would be lost.
    """
    with contextlib.suppress(ImportError):
        from psycopg_pool import pool

        ordinary = getattr(pool, "CLIENT_EXCEPTIONS", None)
        if ordinary is not None:
            more = ordinary if isinstance(ordinary, tuple) else (ordinary,)
            pool.CLIENT_EXCEPTIONS = (*more, Killed)  # type: ignore[assignment]


def _cancel(connection: Any, gen: Any) -> None:
    """End the statement and read the server's answer to it; a connection that gives none is closed."""
    from psycopg.errors import QueryCanceled
    from psycopg.pq import TransactionStatus

    if connection.pgconn.transaction_status != TransactionStatus.ACTIVE:
        return
    try:
        _cancel_until_read(connection, gen, time.monotonic() + PATIENCE)
    except QueryCanceled:
        pass  # as expected
    except BaseException as error:
        # Interrupted again, or the server is away: nobody knows what the connection would answer next.
        connection.pgconn.finish()
        if not isinstance(error, Exception):
            raise


def _cancel_until_read(connection: Any, gen: Any, deadline: float) -> None:
    """Cancel, and go on with psycopg's generator until it has the statement's end.

    Again and again: a server forgets a request that overtakes the statement.
    """
    from psycopg.waiting import Ready

    fd = connection.pgconn.socket
    with contextlib.suppress(StopIteration):
        while (left := deadline - time.monotonic()) > 0:
            if hasattr(connection, "cancel_safe"):
                connection.cancel_safe(timeout=left)
            else:
                connection.cancel()
            while select.select([fd], [], [], min(AGAIN, max(0.0, deadline - time.monotonic())))[0]:
                gen.send(Ready.R)
        raise TimeoutError("the server does not end the statement")


def close(connection: Any) -> None:
    """Close a connection of psycopg, and return once its server process is gone.

    Whoever connects next finds the room that this one had: a server counts a process until its end.
    """
    if connection.closed:
        return
    copy = os.dup(connection.fileno())
    try:
        connection.close()
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                if select.select([copy], [], [], left)[0] and not os.read(copy, 65536):
                    return
    finally:
        os.close(copy)
