"""Statements that lease ready messages to a process, many as one row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from greenq.message import Delivery
from greenq.sqlite.envelope import Unreadable, unpack
from greenq.sqlite.session import Session

__all__ = ["Batch", "claim", "deliveries", "take_over"]

SMALL = 65536
"""Bytes up to which headers and bodies of many messages are read as one."""
MOST = 1000
"""How many messages one claim takes at most: a bound for memory and for how long others wait."""
CONTENT = f"""
SELECT group_concat(id), group_concat(rank), group_concat(attempts), group_concat(heads), group_concat(bodies),
       CAST(group_concat(CASE WHEN heads <= {SMALL} THEN CAST(envelope AS TEXT) ELSE '' END, '') AS BLOB),
       CAST(group_concat(CASE WHEN bodies <= {SMALL} THEN CAST(body AS TEXT) ELSE '' END, '') AS BLOB),
       max(max(heads, bodies))
FROM (SELECT r.id, r.rank, r.attempts, m.envelope, m.body,
             coalesce(length(CAST(m.envelope AS BLOB)), -1) AS heads, coalesce(length(CAST(m.body AS BLOB)), -1) AS bodies
      FROM ready AS r LEFT JOIN messages AS m ON m.id = r.id
      WHERE r.queue = ? AND (r.rank, r.position, r.id) <= (?, ?, ?)
      ORDER BY r.rank, r.position, r.id)
"""  # noqa: E501
"""Many messages as one row: lists of numbers, all headers in one blob and all bodies in another."""


class Batch(NamedTuple):
    """What one claim took from one queue, not yet taken apart.

    Parameters:
        found: the row that `CONTENT` makes of many messages.
        large: envelope and body of those that are too large for it, by id.
    """

    queue: str
    found: tuple[Any, ...]
    large: dict[int, tuple[bytes | None, bytes | None]]

    def ids(self) -> list[int]:
        """The messages in it."""
        return list(map(int, self.found[0].split(",")))


_batch = partial(tuple.__new__, Batch)
"""Makes one without a call of Python code, which its own constructor is."""


def claim(session: Session, queues: Sequence[str], n: int, owner: int, fence: int) -> list[Batch]:
    """Lease up to `n` ready messages to a process, in the order of the queues, priority and age."""
    left = min(n, MOST)
    batches: list[Batch] = []
    for name in dict.fromkeys(queues):
        queue = session.queues.get(name) or session.known(name)
        if queue is None:
            continue
        bound = session.do(
            "SELECT rank, position, id FROM (SELECT rank, position, id FROM ready WHERE queue = ?"
            " ORDER BY rank, position, id LIMIT ?) ORDER BY rank DESC, position DESC, id DESC LIMIT 1",
            (queue, left),
        ).fetchall()
        if not bound:
            continue
        until = (queue, *bound[0])
        found = session.do(CONTENT, until).fetchall()[0]
        batch = _batch((name, found, {}))
        if found[7] > SMALL:
            batch.large.update(_large(session, batch))
        batches.append(batch)
        where = "WHERE queue = ? AND (rank, position, id) <= (?, ?, ?)"
        left -= session.do(
            f"INSERT INTO leased SELECT ?, id, ?, queue, rank, attempts FROM ready {where}",
            (owner, fence, *until),
        ).rowcount
        session.do(f"DELETE FROM ready {where}", until)
        if left <= 0:
            break
    return batches


def take_over(session: Session, process: str, id: str, owner: int, fence: int) -> list[Delivery]:
    """Lease what another process holds of one task to the process `owner`."""
    rows = session.rows(
        "SELECT l.owner, l.id, l.rank, l.attempts, q.name, CAST(m.envelope AS BLOB), CAST(m.body AS BLOB)"
        " FROM processes AS p JOIN leased AS l ON l.owner = p.id JOIN messages AS m ON m.id = l.id"
        " JOIN queues AS q ON q.id = l.queue WHERE p.name = ? AND p.id <> ? AND instr(m.envelope, ?)",
        (process, owner, id.encode("utf-8", "surrogatepass")),
    )
    taken: list[Delivery] = []
    for holder, number, rank, attempts, queue, envelope, body in rows:
        try:
            message = unpack(queue, rank, envelope, body)
        except Unreadable:
            continue
        if message.headers.get("id") == id:
            session.execute(
                "UPDATE leased SET owner = ?, fence = ? WHERE owner = ? AND id = ?",
                (owner, fence, holder, number),
            )
            taken.append(Delivery(message, queue, (owner, number, fence), attempts))
    return taken


def _large(session: Session, batch: Batch) -> dict[int, tuple[bytes | None, bytes | None]]:
    """Read one by one what is too large to be read together."""
    heads, bodies = (map(int, text.split(",")) for text in batch.found[3:5])
    return {
        id: session.rows(
            "SELECT CAST(envelope AS BLOB), CAST(body AS BLOB) FROM messages WHERE id = ?", (id,)
        )[0]
        for id, head, body in zip(batch.ids(), heads, bodies, strict=True)
        if head > SMALL or body > SMALL
    }


def deliveries(batch: Batch, owner: int, fence: int) -> list[Delivery]:
    """Take a batch apart; what cannot be read becomes a delivery with a problem."""
    queue, large = batch.queue, batch.large
    ids, ranks, attempts, heads, bodies, envelopes, contents = batch.found[:7]
    made: list[Delivery] = []
    head_at = body_at = 0
    for id, rank, tried, head, body in zip(
        map(int, ids.split(",")), map(int, ranks.split(",")), map(int, attempts.split(",")),
        map(int, heads.split(",")), map(int, bodies.split(",")), strict=True,
    ):  # fmt: skip
        # What is missing has the size -1, what is large was left out.
        envelope = content = None
        if 0 <= head <= SMALL:
            envelope = envelopes[head_at : head_at + head]
            head_at += head
        if 0 <= body <= SMALL:
            content = contents[body_at : body_at + body]
            body_at += body
        if id in large:
            envelope, content = large[id]
        try:
            message = unpack(queue, rank, envelope, content)
        except Unreadable as problem:
            made.append(Delivery(None, queue, (owner, id, fence), tried, str(problem), envelope or b""))
        else:
            made.append(Delivery(message, queue, (owner, id, fence), tried))
    return made
