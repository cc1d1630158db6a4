"""Counting the members of chords in a database: tables of greenq's own, as Celery there only polls."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from greenq.chords import ChordOpening, ChordPart
from greenq.results.databasetables import LONGEST_ID, metadata

__all__ = ["close", "count", "expire", "extend", "grow", "joined", "opening", "overdue"]

DONE_KEPT = 600.0
"""Seconds for which it is remembered that a chord is done."""
MOST_OVERDUE = 100
LAST = 1 << 31
"""The place of a member that has none."""
CHORDS = sa.Table(
    "greenq_chords",
    metadata,
    sa.Column("id", sa.String(LONGEST_ID), primary_key=True),
    sa.Column("size", sa.Integer, nullable=True),
    sa.Column("more", sa.Integer, nullable=False, default=0),
    sa.Column("counted", sa.Integer, nullable=False, default=0),
    sa.Column("claim", sa.String(64), nullable=True),
    sa.Column("until", sa.Double, nullable=True, index=True),
    sa.Column("record", sa.LargeBinary, nullable=True),
    sa.Column("done", sa.Integer, nullable=False, default=0),
    sa.Column("expires", sa.Double, nullable=True, index=True),
)
"""`size` is unknown until the chord is opened; `more` and `counted` are the numbers of rows in the others."""
PARTS = sa.Table(
    "greenq_chordparts",
    metadata,
    sa.Column("chord", sa.String(LONGEST_ID), primary_key=True),
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("member", sa.String(LONGEST_ID), primary_key=True),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)
GROWTH = sa.Table(
    "greenq_chordgrowth",
    metadata,
    sa.Column("chord", sa.String(LONGEST_ID), primary_key=True),
    sa.Column("member", sa.String(LONGEST_ID), primary_key=True),
)


def opening(connection: sa.Connection, openings: Iterable[ChordOpening]) -> None:
    """Say how many members chords have."""
    now = time.time()
    for one in sorted(openings, key=lambda one: one.group):
        done = _lock(connection, one.group, now)
        if done and not one.anew:
            continue
        fresh = {"more": 0, "counted": 0, "done": 0, "record": None, "until": None} if done else {}
        _set(connection, one.group, size=one.size, claim=None, expires=_moment(one.expires, now), **fresh)


def grow(connection: sa.Connection, group: str, members: Iterable[str], expires: float | None) -> None:
    """Let a chord wait for more members."""
    now = time.time()
    _lock(connection, group, now)
    known = set(connection.execute(sa.select(GROWTH.c.member).where(GROWTH.c.chord == group)).scalars())
    new = [member for member in dict.fromkeys(members) if member not in known]
    if new:
        connection.execute(sa.insert(GROWTH), [{"chord": group, "member": member} for member in new])
    _set(connection, group, more=CHORDS.c.more + len(new), expires=_moment(expires, now))


def count(connection: sa.Connection, parts: Sequence[ChordPart], claim: float) -> None:
    """Count members; those that complete their chord get a claim of so many seconds."""
    now = time.time()
    by_group: dict[str, list[ChordPart]] = {}
    for part in parts:
        part.claim = None
        by_group.setdefault(part.group, []).append(part)
    for group in sorted(by_group):  # as everywhere: nobody waits in a circle
        if not _lock(connection, group, now):
            _count(connection, group, by_group[group], claim, now)


def _count(
    connection: sa.Connection, group: str, parts: Sequence[ChordPart], claim: float, now: float
) -> None:
    members = [part.member for part in parts]
    query = sa.select(PARTS.c.place, PARTS.c.member).where(PARTS.c.chord == group)
    known = {
        (place, member) for place, member in connection.execute(query.where(PARTS.c.member.in_(members)))
    }
    new = []
    for part in parts:
        place = LAST if part.index is None else part.index
        if (place, part.member) not in known:
            known.add((place, part.member))
            new.append({"chord": group, "place": place, "member": part.member, "payload": part.payload})
    if new:
        connection.execute(sa.insert(PARTS), new)
    last = parts[-1]
    _set(connection, group, counted=CHORDS.c.counted + len(new), expires=_moment(last.expires, now))
    token = secrets.token_hex(16)
    taken = connection.execute(
        sa.update(CHORDS)
        .where(
            CHORDS.c.id == group,
            CHORDS.c.counted == CHORDS.c.size + CHORDS.c.more,
            sa.or_(CHORDS.c.claim.is_(None), CHORDS.c.until <= now),
        )
        .values(claim=token, until=now + claim, record=last.record)
    )
    if taken.rowcount > 0:
        last.claim = token


def overdue(connection: sa.Connection, claim: float) -> list[tuple[str, str, bytes]]:
    """Claim chords whose body was not sent in time: group, claim, and what is needed to send it."""
    now = time.time()
    late = sa.select(CHORDS.c.id, CHORDS.c.record).where(
        CHORDS.c.until <= now, CHORDS.c.claim.is_not(None), CHORDS.c.done == 0
    )
    found = []
    for group, record in connection.execute(late.order_by(CHORDS.c.id).limit(MOST_OVERDUE).with_for_update()):
        token = secrets.token_hex(16)
        found.append((group, token, record or b""))
    for group, token, _ in found:
        _set(connection, group, claim=token, until=now + claim)
    return found


def joined(
    connection: sa.Connection, group: str, after: tuple[int, str] | None, most: int
) -> list[tuple[int, str, bytes]]:
    """Some of what is kept of a chord's members, in their order: place, id and payload.

    Parameters:
        after: place and id of the last one that is known; None to begin.
    """
    query = sa.select(PARTS.c.place, PARTS.c.member, PARTS.c.payload).where(PARTS.c.chord == group)
    if after is not None:
        place, member = after
        query = query.where(
            sa.or_(PARTS.c.place > place, sa.and_(PARTS.c.place == place, PARTS.c.member > member))
        )
    rows = connection.execute(query.order_by(PARTS.c.place, PARTS.c.member).limit(most))
    return [(place, member, bytes(payload)) for place, member, payload in rows]


def extend(connection: sa.Connection, group: str, token: str, claim: float) -> bool:
    """Go on with a claim; False if another one has it."""
    ours = sa.update(CHORDS).where(CHORDS.c.id == group, CHORDS.c.claim == token, CHORDS.c.done == 0)
    return connection.execute(ours.values(until=time.time() + claim)).rowcount > 0


def close(connection: sa.Connection, group: str, token: str) -> bool:
    """Forget what was counted; False if the claim was lost."""
    ours = sa.update(CHORDS).where(CHORDS.c.id == group, CHORDS.c.claim == token, CHORDS.c.done == 0)
    closed = connection.execute(ours.values(done=1, record=None, until=None, expires=time.time() + DONE_KEPT))
    if closed.rowcount > 0:
        _forget_parts(connection, [group])
    return closed.rowcount > 0


def expire(connection: sa.Connection, most: int) -> int:
    """Forget some of the chords past their time; how many they were."""
    past = sa.select(CHORDS.c.id).where(CHORDS.c.expires <= time.time()).limit(most)
    gone = list(connection.execute(past.with_for_update()).scalars())
    if gone:
        _forget_parts(connection, gone)
        connection.execute(sa.delete(CHORDS).where(CHORDS.c.id.in_(gone)))
    return len(gone)


def _lock(connection: sa.Connection, group: str, now: float) -> bool:
    """Have a chord to oneself until the transaction's end, making it known if it is not; whether it is done.

    Two that make it known at once get in each other's way, and one of them begins again.
    """
    query = sa.select(CHORDS.c.done, CHORDS.c.expires).where(CHORDS.c.id == group).with_for_update()
    row = connection.execute(query).first()
    if row is not None and row.expires is not None and row.expires <= now:
        _forget_parts(connection, [group])
        connection.execute(sa.delete(CHORDS).where(CHORDS.c.id == group))
        row = None
    if row is None:
        connection.execute(sa.insert(CHORDS), [{"id": group, "more": 0, "counted": 0, "done": 0}])
        return False
    return bool(row.done)


def _set(connection: sa.Connection, group: str, **values: object) -> None:
    connection.execute(sa.update(CHORDS).where(CHORDS.c.id == group).values(**values))


def _forget_parts(connection: sa.Connection, groups: Sequence[str]) -> None:
    for table in (PARTS, GROWTH):
        connection.execute(sa.delete(table).where(table.c.chord.in_(groups)))


def _moment(expires: float | None, now: float) -> float | None:
    return None if expires is None else now + expires
