"""Statements about results."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from greenq.sqlite.session import Session

__all__ = ["Record", "drop", "expire", "find", "latest", "news", "store"]


class Record(NamedTuple):
    """A result as it is stored; `expires` is seconds since the epoch."""

    id: str
    terminal: bool
    expires: float | None
    payload: bytes


def _names(ids: Iterable[str]) -> str:
    return json.dumps(list(ids))


def store(session: Session, records: Sequence[Record]) -> None:
    """Keep results; a terminal one that is there stays."""
    last: dict[str, Record] = {}
    for record in records:
        known = last.get(record.id)
        if known is None or not known.terminal:
            last[record.id] = record
    if not last:
        return
    session.execute(
        "DELETE FROM results WHERE id IN (SELECT value FROM json_each(?)) AND (NOT terminal OR expires <= ?)",
        (_names(last), time.time()),
    )
    session.insert("results", Record._fields, list(last.values()), "INSERT OR IGNORE")
    session.written += sum(len(record.payload) for record in last.values())
    session.announce = True


def find(session: Session, ids: Iterable[str], terminal: bool = False) -> dict[str, bytes]:
    """The payloads of those that are there and have not expired, perhaps only of those that have ended."""
    rows = session.rows(
        "SELECT id, payload FROM results WHERE id IN (SELECT value FROM json_each(?))"
        " AND terminal >= ? AND (expires IS NULL OR expires > ?)",
        (_names(ids), int(terminal), time.time()),
    )
    return dict(rows)


def latest(session: Session) -> int:
    """The number of the newest change."""
    return int(session.rows("SELECT coalesce(max(seq), 0) FROM results")[0][0])


def news(session: Session, since: int) -> tuple[int, list[str]]:
    """Which tasks have ended after change number `since`, and the newest number."""
    newest, ids = session.rows(
        "SELECT max(seq), json_group_array(id) FROM results WHERE seq > ? AND terminal", (since,)
    )[0]
    return (since, []) if newest is None else (int(newest), json.loads(ids))


def drop(session: Session, ids: Iterable[str]) -> None:
    """Forget results."""
    session.execute("DELETE FROM results WHERE id IN (SELECT value FROM json_each(?))", (_names(ids),))


def expire(session: Session, most: int) -> int:
    """Forget some of those past their time; how many they were."""
    return session.execute(
        "DELETE FROM results WHERE seq IN (SELECT seq FROM results WHERE expires <= ? LIMIT ?)",
        (time.time(), most),
    )
