"""Statements that put messages into queues, now or for later."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from greenq.message import Message
from greenq.sqlite.envelope import pack
from greenq.sqlite.session import Session

__all__ = ["Sending", "delay", "promote", "sending", "store", "waits"]

PROMOTED = 10_000
"""How many due messages one transaction makes ready."""


class Sending(NamedTuple):
    """A message as it is stored."""

    queue: str
    rank: int
    due: float | None
    envelope: bytes
    body: bytes


def sending(message: Message) -> Sending:
    """Make a message ready to be stored.

    Raises:
        PublishError: it cannot be kept.
    """
    return Sending(message.queue, -message.priority, message.due, pack(message), message.body)


def store(session: Session, sendings: Iterable[Sending]) -> None:
    """Store messages: those that are due now as ready, the others as delayed."""
    now = time.time()
    ready: list[tuple[Any, ...]] = []
    delayed: list[tuple[Any, ...]] = []
    dues: list[float] = []
    for queue, rank, due, envelope, body in sendings:
        row = (session.queue_id(queue), rank, envelope, body)
        session.written += len(envelope) + len(body)
        if due is None or due <= now:
            ready.append(row)
        else:
            delayed.append(row)
            dues.append(due)
    if ready:
        last = session.insert("messages", ("queue", "rank", "envelope", "body"), ready)
        session.execute(
            "INSERT INTO ready SELECT queue, rank, id, id, 0 FROM messages WHERE id BETWEEN ? AND ?",
            (last - len(ready) + 1, last),
        )
    if delayed:
        last = session.insert("messages", ("queue", "rank", "envelope", "body"), delayed)
        first = last - len(delayed) + 1
        delay(
            session,
            [
                (due, first + i, row[0], row[1], 0)
                for i, (due, row) in enumerate(zip(dues, delayed, strict=True))
            ],
        )
    session.announce = session.announce or bool(ready or delayed)


def delay(session: Session, rows: Sequence[tuple[Any, ...]]) -> None:
    """Let messages wait for their time; the rows are due, id, queue, rank, attempts."""
    session.insert("delayed", ("due", "id", "queue", "rank", "attempts"), rows)


def promote(session: Session) -> None:
    """Make delayed messages ready whose time has come."""
    now = time.time()
    bound = session.do(
        "SELECT due, id FROM (SELECT due, id FROM delayed WHERE due <= ? ORDER BY due, id LIMIT ?)"
        " ORDER BY due DESC, id DESC LIMIT 1",
        (now, PROMOTED),
    ).fetchall()
    if not bound:
        return
    session.execute(
        "INSERT INTO ready SELECT queue, rank, (SELECT coalesce(max(id), 0) FROM messages), id, attempts"
        " FROM delayed WHERE (due, id) <= (?, ?)",
        bound[0],
    )
    session.execute("DELETE FROM delayed WHERE (due, id) <= (?, ?)", bound[0])
    session.announce = True


def waits(session: Session, queues: Sequence[str]) -> bool:
    """Whether a claim would find anything now; also learns when the next delayed message is due."""
    ids: list[int] = []
    for name in queues:
        found = session.queues.get(name) or session.known(name)
        if found is not None:
            ids.append(found)
    ready, due = session.do(
        "SELECT EXISTS(SELECT 1 FROM ready WHERE queue IN (SELECT value FROM json_each(?))),"
        " (SELECT min(due) FROM delayed)",
        (str(ids),),
    ).fetchall()[0]
    session.next_due = due
    return bool(ready) or (due is not None and due <= time.time())
