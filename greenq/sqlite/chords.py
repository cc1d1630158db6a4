"""Statements about the members of chords."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence

from greenq.chords import ChordOpening, ChordPart
from greenq.sqlite.session import Session

__all__ = ["close", "count", "expire", "extend", "grow", "joined", "opening", "overdue"]

DONE_KEPT = 600.0
"""Seconds for which it is remembered that a chord is done."""
MOST_OVERDUE = 100
LAST = 1e300
"""The place of a member that has none."""


def opening(session: Session, openings: Iterable[ChordOpening]) -> None:
    """Say how many members chords have."""
    now = time.time()
    for one in openings:
        _forget_expired(session, one.group, now)
        if one.anew:
            session.execute("DELETE FROM chords WHERE id = ? AND done", (one.group,))
        session.execute(
            "INSERT INTO chords (id, size, expires) VALUES (?, ?, ?) ON CONFLICT (id)"
            " DO UPDATE SET size = excluded.size, expires = excluded.expires, claim = NULL WHERE NOT done",
            (one.group, one.size, _moment(one.expires, now)),
        )


def grow(session: Session, group: str, members: Iterable[str], expires: float | None) -> None:
    """Let a chord wait for more members."""
    now = time.time()
    _forget_expired(session, group, now)
    session.execute("INSERT OR IGNORE INTO chords (id) VALUES (?)", (group,))
    for member in members:
        new = session.execute(
            "INSERT OR IGNORE INTO chordgrowth (chord, member) VALUES (?, ?)", (group, member)
        )
        if new > 0:
            session.execute("UPDATE chords SET more = more + 1 WHERE id = ?", (group,))
    session.execute("UPDATE chords SET expires = ? WHERE id = ?", (_moment(expires, now), group))


def count(session: Session, parts: Sequence[ChordPart], claim: float) -> None:
    """Count members; those that complete their chord get a claim of so many seconds."""
    now = time.time()
    for part in parts:
        part.claim = None
        _forget_expired(session, part.group, now)
        session.execute("INSERT OR IGNORE INTO chords (id) VALUES (?)", (part.group,))
        if session.rows("SELECT done FROM chords WHERE id = ?", (part.group,))[0][0]:
            continue
        place = LAST if part.index is None else float(part.index)
        new = session.execute(
            "INSERT OR IGNORE INTO chordparts (chord, place, member, payload) VALUES (?, ?, ?, ?)",
            (part.group, place, part.member, part.payload),
        )
        session.execute(
            "UPDATE chords SET counted = counted + ?, expires = ? WHERE id = ?",
            (max(0, new), _moment(part.expires, now), part.group),
        )
        token = secrets.token_hex(16)
        taken = session.execute(
            "UPDATE chords SET claim = ?, until = ?, record = ? WHERE id = ? AND counted = size + more"
            " AND (claim IS NULL OR until <= ?)",
            (token, now + claim, part.record, part.group, now),
        )
        if taken > 0:
            part.claim = token
        session.written += len(part.payload)


def overdue(session: Session, claim: float) -> list[tuple[str, str, bytes]]:
    """Claim chords whose body was not sent in time: group, claim, and what is needed to send it."""
    now = time.time()
    found = []
    rows = session.rows(
        "SELECT id, record FROM chords WHERE until <= ? AND claim IS NOT NULL AND NOT done LIMIT ?",
        (now, MOST_OVERDUE),
    )
    for group, record in rows:
        token = secrets.token_hex(16)
        session.execute("UPDATE chords SET claim = ?, until = ? WHERE id = ?", (token, now + claim, group))
        found.append((group, token, record or b""))
    return found


def joined(
    session: Session, group: str, after: tuple[float, str] | None, most: int
) -> list[tuple[float, str, bytes]]:
    """Some of what is kept of a chord's members, in their order: place, id and payload.

    Parameters:
        after: place and id of the last one that is known; None to begin.
    """
    place, member = (-LAST, "") if after is None else after
    return session.rows(
        "SELECT place, member, payload FROM chordparts WHERE chord = ? AND (place, member) > (?, ?)"
        " ORDER BY place, member LIMIT ?",
        (group, place, member, most),
    )


def extend(session: Session, group: str, token: str, claim: float) -> bool:
    """Go on with a claim; False if another one has it."""
    extended = session.execute(
        "UPDATE chords SET until = ? WHERE id = ? AND claim = ? AND NOT done",
        (time.time() + claim, group, token),
    )
    return extended > 0


def close(session: Session, group: str, token: str) -> bool:
    """Forget what was counted; False if the claim was lost."""
    closed = session.execute(
        "UPDATE chords SET done = 1, record = NULL, until = NULL, expires = ?"
        " WHERE id = ? AND claim = ? AND NOT done",
        (time.time() + DONE_KEPT, group, token),
    )
    if closed > 0:
        _forget_parts(session, group)
    return closed > 0


def expire(session: Session, most: int) -> int:
    """Forget some of the chords past their time; how many they were."""
    gone = session.rows("SELECT id FROM chords WHERE expires <= ? LIMIT ?", (time.time(), most))
    for (group,) in gone:
        _forget_parts(session, group)
        session.execute("DELETE FROM chords WHERE id = ?", (group,))
    return len(gone)


def _forget_expired(session: Session, group: str, now: float) -> None:
    if session.execute("DELETE FROM chords WHERE id = ? AND expires <= ?", (group, now)) > 0:
        _forget_parts(session, group)


def _forget_parts(session: Session, group: str) -> None:
    session.execute("DELETE FROM chordparts WHERE chord = ?", (group,))
    session.execute("DELETE FROM chordgrowth WHERE chord = ?", (group,))


def _moment(expires: float | None, now: float) -> float | None:
    return None if expires is None else now + expires
