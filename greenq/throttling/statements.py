"""Limits in tables: what the embedded database and the memory store do, in one transaction for each call.

Slots go by the machine's monotonic clock, as leases do; keys that are held and rates by the wall clock, as
they outlive a boot. A rate whose next start lies further ahead than it can is of a clock that was set back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from greenq.sqlite.leases import clock_name, lease_now
from greenq.throttling.base import FORGOTTEN, GRACE, LONGEST, TRIES, Ask, Claim, Limit, Slot, told_to_wait

__all__ = [
    "Tables", "admit", "create", "exists", "expire", "free", "hold", "leave", "pause", "paused", "renew",
    "resume", "retake",
]  # fmt: skip

TABLES = (
    "CREATE TABLE IF NOT EXISTS throttle_holds (key TEXT PRIMARY KEY, id TEXT NOT NULL, until REAL NOT NULL)"
    " WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS throttle_slots (key TEXT, id TEXT, owner TEXT NOT NULL, until REAL NOT NULL,"
    " clock TEXT NOT NULL, taken REAL NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID",
    # Of a rate the moment of its next start; of slots how long tasks kept them lately.
    "CREATE TABLE IF NOT EXISTS throttle_pace (key TEXT PRIMARY KEY, value REAL NOT NULL, used REAL NOT NULL)"
    " WITHOUT ROWID",
    # place is its own for as long as the task is known, line the same while it comes when it is told to.
    "CREATE TABLE IF NOT EXISTS throttle_waiters (key TEXT, id TEXT, place INTEGER NOT NULL, line INTEGER,"
    " until REAL NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS throttle_places ON throttle_waiters (key, place)",
    "CREATE INDEX IF NOT EXISTS throttle_line ON throttle_waiters (key, line) WHERE line IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS throttle_line_ends ON throttle_waiters (key, until) WHERE line IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS throttle_pauses (queue TEXT PRIMARY KEY) WITHOUT ROWID",
)
COUNTED = 200
LAST = 1 << 62


class Tables(Protocol):
    """A transaction."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it changed."""

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query to its end."""


def exists(tables: Tables) -> bool:
    """Whether anybody has made the tables yet; looks only."""
    return bool(tables.rows("SELECT 1 FROM sqlite_master WHERE name = 'throttle_pauses'"))


def create(tables: Tables) -> None:
    """Make the tables if they are missing: a file of before has none, and most will never need them."""
    if not exists(tables):
        for statement in TABLES:
            tables.execute(statement)


# ── unique tasks ─────────────────────────────────────────────────────────────────────────────────────────


def hold(tables: Tables, claims: Sequence[Claim]) -> list[str | None]:
    """See `ThrottleStore.hold`."""
    now = time.time()
    holders: list[str | None] = []
    for claim in claims:
        found = tables.rows("SELECT id, until FROM throttle_holds WHERE key = ?", (claim.key,))
        if found and found[0][0] not in (claim.id, claim.instead) and found[0][1] > now:
            holders.append(found[0][0])
            continue
        tables.execute(
            "INSERT OR REPLACE INTO throttle_holds VALUES (?, ?, ?)",
            (claim.key, claim.id, now + claim.seconds),
        )
        holders.append(None)
    return holders


def free(tables: Tables, holds: Sequence[tuple[str, str]]) -> None:
    """See `ThrottleStore.free`."""
    for pair in holds:
        tables.execute("DELETE FROM throttle_holds WHERE key = ? AND id = ?", pair)


# ── rates and slots ──────────────────────────────────────────────────────────────────────────────────────


def admit(tables: Tables, asks: Sequence[Ask]) -> list[float]:
    """See `ThrottleStore.admit`."""
    return [_admit(tables, ask, time.time()) for ask in asks]


def _admit(tables: Tables, ask: Ask, now: float) -> float:
    refused: list[tuple[Limit, float]] = []
    starts: list[tuple[Limit, float]] = []
    for limit in ask.limits:
        ahead = _ahead(tables, limit.key, ask.id, now)
        if limit.slots:
            due = _when_free(tables, limit, ask.id, ahead, now)
        else:
            following = _next_start(tables, limit, now)
            starts.append((limit, max(following, now) + limit.interval))
            due = following - limit.tolerance + ahead * limit.interval
        if due > now:
            refused.append((limit, min(due, now + max(LONGEST, ahead / TRIES))))
    if refused:
        for limit, due in refused:
            _wait(tables, limit.key, ask.id, due + GRACE)
        return max(due for _, due in refused)
    for limit, following in starts:
        tables.execute("INSERT OR REPLACE INTO throttle_pace VALUES (?, ?, ?)", (limit.key, following, now))
    for slot in ask.slots():
        _take(tables, slot, ask.lease)
    for limit in ask.limits:
        tables.execute("DELETE FROM throttle_waiters WHERE key = ? AND id = ?", (limit.key, ask.id))
    return 0.0


def _wait(tables: Tables, key: str, id: str, until: float) -> None:
    """Put it in line, at the place that it has or else at the end."""
    if tables.execute(
        "UPDATE throttle_waiters SET line = place, until = ? WHERE key = ? AND id = ?", (until, key, id)
    ):
        return
    last = tables.rows("SELECT coalesce(max(place), 0) FROM throttle_waiters WHERE key = ?", (key,))[0][0]
    tables.execute(
        "INSERT INTO throttle_waiters VALUES (?, ?, ?, ?, ?)", (key, id, last + 1, last + 1, until)
    )


def _ahead(tables: Tables, key: str, id: str, now: float) -> int:
    """How many wait for the same that asked before, and come when they are told to.

    Beyond COUNTED it is no count but the distance to the first in line, as counting many takes long: some in
    between may have gone.
    """
    tables.execute(
        "UPDATE throttle_waiters SET line = NULL WHERE key = ? AND line IS NOT NULL AND until <= ?",
        (key, now),
    )
    own = tables.rows("SELECT place FROM throttle_waiters WHERE key = ? AND id = ?", (key, id))
    before = own[0][0] if own else LAST
    lines = tables.rows(
        "SELECT line FROM throttle_waiters WHERE key = ? AND line < ? ORDER BY line LIMIT ?",
        (key, before, COUNTED),
    )
    if len(lines) < COUNTED:
        return len(lines)
    if before == LAST:
        before = tables.rows(
            "SELECT max(line) + 1 FROM throttle_waiters WHERE key = ? AND line < ?", (key, LAST)
        )[0][0]
    return int(before - lines[0][0])


def _next_start(tables: Tables, limit: Limit, now: float) -> float:
    found = tables.rows("SELECT value FROM throttle_pace WHERE key = ?", (limit.key,))
    latest = now + limit.interval + limit.tolerance
    return min(float(found[0][0]), latest) if found else 0.0


def _when_free(tables: Tables, limit: Limit, id: str, ahead: int, now: float) -> float:
    """When it may have a slot; 0.0 for now."""
    living = tables.rows(
        "SELECT id, taken FROM throttle_slots WHERE key = ? AND until > ? AND clock = ?",
        (limit.key, lease_now(), clock_name()),
    )
    others = sum(row[0] != id for row in living)
    if others < len(living) or limit.slots - others > ahead:
        return 0.0
    found = tables.rows("SELECT value FROM throttle_pace WHERE key = ?", (limit.key,))
    since = lease_now() - max((row[1] for row in living), default=lease_now())
    behind = ahead - max(0, limit.slots - others)
    return now + told_to_wait(behind, limit.slots, max(since, found[0][0] if found else 0.0))


def _take(tables: Tables, slot: Slot, seconds: float) -> None:
    now = lease_now()
    tables.execute(
        "INSERT OR REPLACE INTO throttle_slots VALUES (?, ?, ?, ?, ?, ?)",
        (slot.key, slot.id, slot.owner, now + seconds, clock_name(), now),
    )


def renew(tables: Tables, slots: Sequence[Slot], seconds: float) -> list[Slot]:
    """See `ThrottleStore.renew`."""
    until = lease_now() + seconds
    return [
        slot
        for slot in slots
        if not tables.execute(
            "UPDATE throttle_slots SET until = ?, clock = ? WHERE key = ? AND id = ? AND owner = ?",
            (until, clock_name(), slot.key, slot.id, slot.owner),
        )
    ]


def retake(tables: Tables, slots: Sequence[Slot], seconds: float) -> None:
    """See `ThrottleStore.retake`."""
    for slot in slots:
        others = tables.rows(
            "SELECT 1 FROM throttle_slots"
            " WHERE key = ? AND id = ? AND owner <> ? AND until > ? AND clock = ?",
            (slot.key, slot.id, slot.owner, lease_now(), clock_name()),
        )
        if not others:
            _take(tables, slot, seconds)


def leave(tables: Tables, slots: Sequence[Slot]) -> None:
    """See `ThrottleStore.leave`."""
    now, wall = lease_now(), time.time()
    for slot in slots:
        own = (slot.key, slot.id, slot.owner)
        found = tables.rows("SELECT taken FROM throttle_slots WHERE key = ? AND id = ? AND owner = ?", own)
        if not found:
            continue
        tables.execute("DELETE FROM throttle_slots WHERE key = ? AND id = ? AND owner = ?", own)
        kept = max(0.0, now - found[0][0])
        tables.execute(
            "INSERT INTO throttle_pace VALUES (?, ?, ?) ON CONFLICT (key)"
            " DO UPDATE SET value = value * 0.8 + excluded.value * 0.2, used = excluded.used",
            (slot.key, kept, wall),
        )


# ── paused queues ────────────────────────────────────────────────────────────────────────────────────────


def pause(tables: Tables, queue: str) -> bool:
    """See `ThrottleStore.pause`."""
    return tables.execute("INSERT OR IGNORE INTO throttle_pauses VALUES (?)", (queue,)) > 0


def resume(tables: Tables, queue: str) -> bool:
    """See `ThrottleStore.resume`."""
    return tables.execute("DELETE FROM throttle_pauses WHERE queue = ?", (queue,)) > 0


def paused(tables: Tables) -> frozenset[str]:
    """See `ThrottleStore.paused`."""
    return frozenset(row[0] for row in tables.rows("SELECT queue FROM throttle_pauses"))


def expire(tables: Tables) -> int:
    """See `ThrottleStore.expire`."""
    now = time.time()
    return (
        tables.execute("DELETE FROM throttle_holds WHERE until <= ?", (now,))
        + tables.execute(
            "DELETE FROM throttle_slots WHERE until <= ? OR clock <> ?", (lease_now(), clock_name())
        )
        + tables.execute("DELETE FROM throttle_waiters WHERE until <= ?", (now - FORGOTTEN,))
        # A rate's next start may lie as far ahead as its interval is long.
        + tables.execute(
            "DELETE FROM throttle_pace WHERE max(used, value) <= ? OR used > ?",
            (now - FORGOTTEN, now + FORGOTTEN),
        )
    )
