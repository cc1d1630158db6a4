"""One connection as the statements see it: few steps, many rows.

Each step of SQLite gives the interpreter's lock away and has to win it back, up to 5 ms later in a busy
process, and a write transaction keeps every other process out until its last step. So no statement here
works row by row: many rows are inserted by one, and many are read as one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

__all__ = ["Session", "numbers"]

SIZES = (512, 64, 8, 1)
"""How many rows one INSERT carries: few sizes, so that each statement is prepared once."""
REFUSED = 20_000
"""How many refused leases are kept in mind."""


def numbers(values: Iterable[int]) -> str:
    """Write integers as the array that ``json_each`` reads."""
    return f"[{','.join(map(str, values))}]"


@cache
def _insert_statement(verb: str, table: str, columns: tuple[str, ...], rows: int) -> str:
    places = f"({','.join('?' * len(columns))})"
    return f"{verb} INTO {table} ({','.join(columns)}) VALUES {','.join([places] * rows)}"


class Session:
    """The connection, and what its statements say about the transaction.

    Attributes:
        do: the connection's own `execute`, for what is done for every message.
        announce: set by whoever changed something that others may wait for.
        written: how many bytes of content were stored since someone set it to zero.
        next_due: when the next delayed message is due, in seconds since the epoch, as last looked up.
        refused: leases that could not be ended, in this file or one that stood in its place before; the
            newest ones.
        queues: the numbers of those queues whose names were looked up.
        entered: whether what `refused` says was looked at since the file was opened.
        troubled: when nobody could write last, as far as is known here, on the monotonic clock; 0.0 if never.
    """

    def __init__(self, connection: sqlite3.Connection, refused: dict[Any, None]) -> None:
        self.connection = connection
        self.do = connection.execute
        self.refused = refused
        self.entered = not refused
        self.troubled = 0.0
        self.announce = False
        self.written = 0
        self.next_due: float | None = None
        self.queues: dict[str, int] = {}

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement that returns nothing; how many rows it changed."""
        return self.connection.execute(statement, values).rowcount

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query to its end: one left half-read would hold its snapshot."""
        return self.connection.execute(statement, values).fetchall()

    def insert(
        self, table: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]], verb: str = "INSERT"
    ) -> int:
        """Insert many rows in few steps; the rowid of the last."""
        done, last = 0, 0
        for size in SIZES:
            while len(rows) - done >= size:
                statement = _insert_statement(verb, table, columns, size)
                values = [value for row in rows[done : done + size] for value in row]
                last = self.connection.execute(statement, values).lastrowid or 0
                done += size
        return last

    def queue_id(self, name: str) -> int:
        """Return the queue's number, making it known if it is not yet."""
        found = self.known(name)
        if found is None:
            self.execute("INSERT INTO queues (name) VALUES (?)", (name,))
            found = self.known(name)
        assert found is not None
        return found

    def known(self, name: str) -> int | None:
        """Return the queue's number, or None if nobody made it known."""
        found = self.queues.get(name)
        if found is None:
            rows = self.rows("SELECT id FROM queues WHERE name = ?", (name,))
            if not rows:
                return None
            found = self.queues[name] = int(rows[0][0])
        return found

    def refuse(self, token: Any) -> None:
        """Keep in mind that a lease could not be ended."""
        self.refused[token] = None
        if len(self.refused) > REFUSED:
            del self.refused[next(iter(self.refused))]

    def rolled_back(self) -> None:
        """Forget what the transaction had changed."""
        self.announce = False
        self.entered = not self.refused
        self.queues.clear()
