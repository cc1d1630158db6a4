"""Statements about processes and what they hold.

A lease runs out by the machine's monotonic clock, which all its processes share: steps of the wall clock
and a suspended machine end no lease. After a boot the clock starts anew, and every process of before is
dead. Where the boot cannot be told, leases go by the wall clock.
"""

from __future__ import annotations

import math
import time
from functools import cache
from pathlib import Path

from greenq.sqlite.session import Session, numbers

__all__ = ["clock_name", "enter", "expired", "lease_now", "leave", "reap", "renew"]

BOOT = Path("/proc/sys/kernel/random/boot_id")


@cache
def clock_name() -> str:
    """Name the clock that leases go by."""
    try:
        return BOOT.read_text().strip() or "wall"
    except OSError:
        return "wall"


def lease_now() -> float:
    """This moment by that clock, in seconds."""
    return time.time() if clock_name() == "wall" else time.monotonic()


def enter(session: Session, process: str, seconds: float) -> int:
    """Make a process known, its lease beginning now; its number."""
    session.execute(
        "INSERT INTO processes (name, seconds, until, clock) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET seconds = excluded.seconds, until = excluded.until,"
        " clock = excluded.clock",
        (process, seconds, lease_now() + seconds, clock_name()),
    )
    return int(session.rows("SELECT id FROM processes WHERE name = ?", (process,))[0][0])


def renew(session: Session, process: str, owner: int, seconds: float) -> int:
    """Begin the process's lease anew, also if it was taken for dead meanwhile; its number.

    In a file that somebody put in the old one's place the number may be another process's.
    """
    changed = session.execute(
        "UPDATE processes SET until = ?, clock = ? WHERE id = ? AND name = ?",
        (lease_now() + seconds, clock_name(), owner, process),
    )
    return owner if changed else enter(session, process, seconds)


def current(session: Session, process: str, owner: int) -> tuple[bool, bool]:
    """Whether the process has a lease that has not run out; and whether delayed messages are due."""
    # `lease_now` for every fetch, and so without a call
    now = time.time()
    clock = clock_name()
    alive, due = session.do(
        "SELECT EXISTS(SELECT 1 FROM processes WHERE id = ? AND name = ? AND until > ? AND clock = ?),"
        " EXISTS(SELECT 1 FROM delayed WHERE due <= ?)",
        (owner, process, now if clock == "wall" else time.monotonic(), clock, now),
    ).fetchall()[0]
    return bool(alive), bool(due)


def expired(session: Session, but: int | None) -> list[int]:
    """The processes whose lease ran out, without the caller's own.

    Who could not write for a while, as the disk was full or the file locked, gets a whole lease to renew it.
    """
    trusted = time.monotonic() - session.troubled if session.troubled else math.inf
    rows = session.rows(
        "SELECT id FROM processes WHERE (clock <> ? OR (until <= ? AND seconds <= ?)) AND id IS NOT ?",
        (clock_name(), lease_now(), trusted, but),
    )
    return [int(row[0]) for row in rows]


def reap(session: Session, owners: list[int], charge: bool) -> int:
    """Forget processes; what they held goes to the front of its priority.

    Parameters:
        charge: what they held is suspect from now on.

    Returns:
        How many messages it was.
    """
    given_back = 0
    for owner in owners:
        given_back += session.execute(
            "INSERT INTO ready SELECT queue, rank, 0, id, max(attempts, ?) FROM leased WHERE owner = ?",
            (int(charge), owner),
        )
        session.execute("DELETE FROM leased WHERE owner = ?", (owner,))
    session.execute("DELETE FROM processes WHERE id IN (SELECT value FROM json_each(?))", (numbers(owners),))
    session.announce = session.announce or given_back > 0
    return given_back


def leave(session: Session, process: str, charge: bool) -> int:
    """Forget one process by its name; how many messages it held."""
    rows = session.rows("SELECT id FROM processes WHERE name = ?", (process,))
    return reap(session, [int(row[0]) for row in rows], charge)
