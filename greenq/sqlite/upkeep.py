"""Statements for people who look after queues: depths, purging, dead letters."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from greenq.message import Depth
from greenq.sqlite.session import Session

__all__ = ["Dead", "bury", "dead", "declare", "depth", "newest", "purge", "replay"]

CHUNK = 10_000
"""How many messages one transaction drops: others get a turn in between."""


class Dead(NamedTuple):
    """A dead letter as it is stored."""

    key: int
    queue: str
    rank: int
    reason: str
    died: float
    trace: str | None
    envelope: bytes | None
    body: bytes | None


def declare(session: Session, queues: Iterable[str]) -> None:
    """Make queues known."""
    for name in queues:
        session.queue_id(name)


def depth(session: Session) -> dict[str, Depth]:
    """Count every known queue's messages by state; a delayed one whose time has come counts as ready."""
    now = time.time()
    ready: dict[int, dict[int, int]] = {}
    for queue, rank, found in session.rows(
        "SELECT queue, rank, count(*) FROM (SELECT queue, rank FROM ready"
        " UNION ALL SELECT queue, rank FROM delayed WHERE due <= ?) GROUP BY queue, rank",
        (now,),
    ):
        ready.setdefault(queue, {})[-rank] = found
    delayed, leased, dead = (
        dict(session.rows(f"SELECT queue, count(*) FROM {table} GROUP BY queue", values))
        for table, values in (("delayed WHERE due > ?", (now,)), ("leased", ()), ("dead", ()))
    )
    depths = {}
    for id, name in session.rows("SELECT id, name FROM queues ORDER BY name"):
        waiting = ready.get(id, {})
        counts = sum(waiting.values()), delayed.get(id, 0), leased.get(id, 0), dead.get(id, 0)
        depths[str(name)] = Depth(*counts, by_priority=waiting)
    return depths


def newest(session: Session) -> int:
    """The highest message id: what comes later is newer."""
    return int(session.rows("SELECT coalesce(max(id), 0) FROM messages")[0][0])


def purge(session: Session, queue: str, until: int) -> int:
    """Drop some of what waits in a queue and is not newer than `until`; 0 when there is no more."""
    number = session.known(queue)
    if number is None:
        return 0
    dropped = 0
    for table, order in (("ready", ("rank", "position", "id")), ("delayed", ("due", "id"))):
        columns = ", ".join(order)
        bound = session.rows(
            f"SELECT {columns} FROM (SELECT {columns} FROM {table} WHERE queue = ? AND id <= ?"
            f" ORDER BY {columns} LIMIT {CHUNK})"
            f" ORDER BY {', '.join(f'{name} DESC' for name in order)} LIMIT 1",
            (number, until),
        )
        if not bound:
            continue
        where = f"FROM {table} WHERE queue = ? AND id <= ? AND ({columns}) <= ({', '.join('?' * len(order))})"
        session.execute(f"DELETE FROM messages WHERE id IN (SELECT id {where})", (number, until, *bound[0]))
        dropped += session.execute(f"DELETE {where}", (number, until, *bound[0]))
    return dropped


def dead(session: Session, queue: str | None, limit: int) -> list[Dead]:
    """The newest dead letters, of one queue or of all."""
    where = "" if queue is None else "WHERE d.queue = (SELECT id FROM queues WHERE name = :queue)"
    rows = session.connection.execute(
        "SELECT d.key, q.name, d.rank, d.reason, d.died, d.trace,"
        " CAST(m.envelope AS BLOB), CAST(m.body AS BLOB)"
        " FROM dead AS d JOIN queues AS q ON q.id = d.queue LEFT JOIN messages AS m ON m.id = d.message"
        f" {where} ORDER BY d.key DESC LIMIT :limit",
        {"queue": queue, "limit": limit},
    )
    return [Dead(*row) for row in rows.fetchall()]


def replay(session: Session, key: int) -> bool:
    """Put a dead letter at the end of its queue; False if it is not there."""
    moved = session.execute(
        "INSERT INTO ready SELECT queue, rank, (SELECT coalesce(max(id), 0) FROM messages), message, 0"
        " FROM dead WHERE key = ?",
        (key,),
    )
    session.execute("DELETE FROM dead WHERE key = ?", (key,))
    session.announce = session.announce or moved > 0
    return moved > 0


def bury(session: Session, queue: str | None) -> int:
    """Drop the dead letters of one queue or of all."""
    where, values = (
        ("", ()) if queue is None else ("WHERE queue = (SELECT id FROM queues WHERE name = ?)", (queue,))
    )
    session.execute(f"DELETE FROM messages WHERE id IN (SELECT message FROM dead {where})", values)
    return session.execute(f"DELETE FROM dead {where}", values)
