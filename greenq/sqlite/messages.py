"""Statements that put messages into queues, claim them, and end their leases."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from greenq.message import Delivery, Message, Settlement, Verdict
from greenq.sqlite.envelope import Unreadable, pack, unpack
from greenq.sqlite.session import Session, numbers

__all__ = [
    "Claimed",
    "Lease",
    "Sending",
    "Token",
    "claim",
    "delivery",
    "finish",
    "give_back",
    "held",
    "promote",
    "sending",
    "settle",
    "store",
    "waits",
]

SMALL = 65536
"""Bytes up to which headers and bodies of many messages are read as one."""
MOST = 1000
"""How many messages one claim takes at most: a bound for memory and for how long others wait."""
PROMOTED = 10_000
"""How many due messages one transaction makes ready."""

Token = tuple[int, int, int]
"""Owner, message and fence: names one delivery."""


class Sending(NamedTuple):
    """A message as it is stored."""

    queue: str
    rank: int
    due: float | None
    envelope: bytes
    body: bytes


class Lease(NamedTuple):
    """What is known of a leased message."""

    queue: int
    rank: int
    attempts: int


@dataclass(slots=True)
class Claimed:
    """One message that was claimed, not yet decoded."""

    queue: str
    id: int
    rank: int
    attempts: int
    envelope: bytes | None
    body: bytes | None


def sending(message: Message) -> Sending:
    """Make a message ready to be stored.

    Raises:
        PublishError: it cannot be kept.
    """
    return Sending(message.queue, -message.priority, message.due, pack(message), message.body)


def delivery(token: Token, claimed: Claimed) -> Delivery:
    """Make a delivery of what was claimed, or one with a problem if it cannot be read."""
    try:
        message = unpack(claimed.queue, claimed.rank, claimed.envelope, claimed.body)
    except Unreadable as problem:
        return Delivery(None, claimed.queue, token, claimed.attempts, str(problem), claimed.envelope or b"")
    return Delivery(message, claimed.queue, token, claimed.attempts)


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────


def store(session: Session, sendings: Iterable[Sending]) -> None:
    """Store messages: those that are due now as ready, the others as delayed."""
    now = time.time()
    ready: list[tuple[Any, ...]] = []
    delayed: list[tuple[Any, ...]] = []
    dues: list[float] = []
    for queue, rank, due, envelope, body in sendings:
        row = (session.queue_id(queue), rank, envelope, body)
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
        _delay(
            session,
            [
                (due, first + i, row[0], row[1], 0)
                for i, (due, row) in enumerate(zip(dues, delayed, strict=True))
            ],
        )
    session.announce = session.announce or bool(ready or delayed)


def _delay(session: Session, rows: Sequence[tuple[float, int, int, int, int]]) -> None:
    session.insert("delayed", ("due", "id", "queue", "rank", "attempts"), rows)


def promote(session: Session) -> None:
    """Make delayed messages ready whose time has come."""
    now = time.time()
    bound = session.rows(
        "SELECT due, id FROM (SELECT due, id FROM delayed WHERE due <= ? ORDER BY due, id LIMIT ?)"
        " ORDER BY due DESC, id DESC LIMIT 1",
        (now, PROMOTED),
    )
    if not bound:
        return
    session.execute(
        "INSERT INTO ready SELECT queue, rank, (SELECT coalesce(max(id), 0) FROM messages), id, attempts"
        " FROM delayed WHERE (due, id) <= (?, ?)",
        bound[0],
    )
    session.execute("DELETE FROM delayed WHERE (due, id) <= (?, ?)", bound[0])
    session.announce = True


# ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────

CONTENT = f"""
SELECT group_concat(id), group_concat(rank), group_concat(attempts), group_concat(heads), group_concat(bodies),
       CAST(group_concat(CASE WHEN heads <= {SMALL} THEN CAST(envelope AS TEXT) ELSE '' END, '') AS BLOB),
       CAST(group_concat(CASE WHEN bodies <= {SMALL} THEN CAST(body AS TEXT) ELSE '' END, '') AS BLOB)
FROM (SELECT r.id, r.rank, r.attempts, m.envelope, m.body,
             coalesce(length(CAST(m.envelope AS BLOB)), -1) AS heads, coalesce(length(CAST(m.body AS BLOB)), -1) AS bodies
      FROM ready AS r LEFT JOIN messages AS m ON m.id = r.id
      WHERE r.queue = ? AND (r.rank, r.position, r.id) <= (?, ?, ?)
      ORDER BY r.rank, r.position, r.id)
"""  # noqa: E501
"""Many messages as one row: lists of numbers, all headers in one blob and all bodies in another."""


def waits(session: Session, queues: Sequence[str]) -> bool:
    """Whether a claim would find anything now; also learns when the next delayed message is due."""
    ids = [found for found in map(session.known, queues) if found is not None]
    ready, due = session.rows(
        "SELECT EXISTS(SELECT 1 FROM ready WHERE queue IN (SELECT value FROM json_each(?))),"
        " (SELECT min(due) FROM delayed)",
        (numbers(ids),),
    )[0]
    session.next_due = due
    return bool(ready) or (due is not None and due <= time.time())


def claim(session: Session, queues: Sequence[str], n: int, owner: int, fence: int) -> list[Claimed]:
    """Lease up to `n` ready messages to a process, in the order of the queues, priority and age."""
    left = min(n, MOST)
    claimed: list[Claimed] = []
    for name in dict.fromkeys(queues):
        queue = session.known(name)
        if queue is None:
            continue
        bound = session.rows(
            "SELECT rank, position, id FROM (SELECT rank, position, id FROM ready WHERE queue = ?"
            " ORDER BY rank, position, id LIMIT ?) ORDER BY rank DESC, position DESC, id DESC LIMIT 1",
            (queue, left),
        )
        if not bound:
            continue
        until = (queue, *bound[0])
        found = session.rows(CONTENT, until)[0]
        where = "WHERE queue = ? AND (rank, position, id) <= (?, ?, ?)"
        session.execute(
            f"INSERT INTO leased SELECT ?, id, ?, queue, rank, attempts FROM ready {where}",
            (owner, fence, *until),
        )
        session.execute(f"DELETE FROM ready {where}", until)
        claimed += _split(session, name, found)
        left = min(n, MOST) - len(claimed)
        if left <= 0:
            break
    return claimed


def _split(session: Session, queue: str, found: tuple[Any, ...]) -> list[Claimed]:
    ids, ranks, attempts, heads, bodies = ([int(number) for number in text.split(",")] for text in found[:5])
    claimed = [
        Claimed(queue, id, rank, tried, envelope, body)
        for id, rank, tried, envelope, body in zip(
            ids, ranks, attempts, _cut(found[5], heads), _cut(found[6], bodies), strict=True
        )
    ]
    for one, head, body in zip(claimed, heads, bodies, strict=True):
        if head > SMALL or body > SMALL:
            one.envelope, one.body = session.rows(
                "SELECT CAST(envelope AS BLOB), CAST(body AS BLOB) FROM messages WHERE id = ?", (one.id,)
            )[0]
    return claimed


def _cut(joined: bytes, sizes: list[int]) -> list[bytes | None]:
    """Take a blob apart again; what is missing has the size -1, what is large was left out."""
    parts: list[bytes | None] = []
    start = 0
    for size in sizes:
        end = start + size if 0 <= size <= SMALL else start
        parts.append(joined[start:end] if size >= 0 else None)
        start = end
    return parts


# ── settling ─────────────────────────────────────────────────────────────────────────────────────────────


def held(session: Session, tokens: Iterable[Any]) -> dict[Token, Lease]:
    """Which of these deliveries are still leased under their token."""
    wanted: dict[int, dict[int, Token]] = {}
    for token in tokens:
        if isinstance(token, tuple) and len(token) == 3 and all(type(part) is int for part in token):
            wanted.setdefault(token[0], {})[token[1]] = token
    leases: dict[Token, Lease] = {}
    for owner, by_id in wanted.items():
        found = session.rows(
            "SELECT group_concat(id), group_concat(fence), group_concat(queue), group_concat(rank),"
            " group_concat(attempts) FROM leased WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
            (owner, numbers(by_id)),
        )[0]
        if found[0] is None:
            continue
        for row in zip(*(map(int, text.split(",")) for text in found), strict=True):
            id, fence, queue, rank, attempts = row
            if by_id[id][2] == fence:
                leases[by_id[id]] = Lease(queue, rank, attempts)
    return leases


def _text(text: str | None) -> str | None:
    """Make what an exception said fit for storage: it may hold half a surrogate pair."""
    return None if text is None else str(text).encode("utf-8", "backslashreplace").decode()


def finish(session: Session, leases: dict[Token, Lease], settlements: Sequence[Settlement]) -> None:
    """Do with leased messages what their settlements say; every token must be in `leases`."""
    gone: list[int] = []
    ready: list[tuple[Any, ...]] = []
    delayed: list[tuple[Any, ...]] = []
    dead: list[tuple[Any, ...]] = []
    ids: dict[int, list[int]] = {}
    for settlement in settlements:
        token: Token = settlement.delivery.token
        owner, id, _ = token
        queue, rank, attempts = leases[token]
        ids.setdefault(owner, []).append(id)
        if settlement.verdict is Verdict.ACK:
            gone.append(id)
        elif settlement.verdict is Verdict.RETRY_AT and settlement.due is not None:
            delayed.append((settlement.due, id, queue, rank, attempts))
        elif settlement.verdict is Verdict.DEAD:
            dead.append(
                (id, queue, rank, time.time(), _text(settlement.reason) or "", _text(settlement.trace))
            )
        else:
            ready.append((queue, rank, 0, id, attempts))
    for owner, of_owner in ids.items():
        session.execute(
            "DELETE FROM leased WHERE owner = ? AND id IN (SELECT value FROM json_each(?))",
            (owner, numbers(of_owner)),
        )
    if gone:
        session.execute("DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", (numbers(gone),))
    if ready:
        session.insert("ready", ("queue", "rank", "position", "id", "attempts"), ready)
    if delayed:
        _delay(session, delayed)
    if dead:
        session.insert("dead", ("message", "queue", "rank", "died", "reason", "trace"), dead)
    session.announce = session.announce or bool(ready or delayed)


def settle(session: Session, settlements: Sequence[Settlement]) -> list[bool]:
    """End leases; for each False if it had been lost, or was ended before in the same batch."""
    leases = held(session, (settlement.delivery.token for settlement in settlements))
    done: set[Token] = set()
    kept: list[bool] = []
    for settlement in settlements:
        token = settlement.delivery.token
        kept.append(token in leases and token not in done)
        if kept[-1]:
            done.add(token)
    finish(session, leases, [one for one, keep in zip(settlements, kept, strict=True) if keep])
    return kept


def give_back(session: Session, tokens: Sequence[Token]) -> None:
    """Return deliveries that nobody has seen to the front."""
    settle(session, [Settlement(Delivery(None, "", token), Verdict.REQUEUE) for token in tokens])
