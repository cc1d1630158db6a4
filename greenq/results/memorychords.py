"""Counting the members of chords inside one process."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from math import inf

from greenq.chords import ChordOpening, ChordPart, DueChord
from pools import native

__all__ = ["Counts"]

CHUNK = 500
"""Members in one piece of what is joined."""
DONE_KEPT = 600.0
"""Seconds for which it is remembered that a chord is done."""


class Tally:
    """What is known of one chord."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.added: set[str] = set()
        self.parts: dict[tuple[float, str], bytes] = {}
        self.claim: str | None = None
        self.until = 0.0
        self.due: DueChord | None = None
        self.done = False
        self.expires: float | None = None

    def lasts(self, expires: float | None, now: float) -> None:
        """Let it expire so many seconds from now."""
        self.expires = None if expires is None else now + expires

    @property
    def complete(self) -> bool:
        """Whether all members have ended."""
        return self.size is not None and len(self.parts) == self.size + len(self.added)


class Counts:
    """The chords of one place."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with nothing: at first, and in a forked child."""
        self._lock = native.Lock()
        self._chords: dict[str, Tally] = {}

    def open(self, openings: Iterable[ChordOpening]) -> None:
        """Say how many members chords have."""
        now = time.time()
        with self._lock:
            for opening in openings:
                tally = self._of(opening.group, now)
                if tally.done and not opening.anew:
                    continue
                if tally.done:
                    tally = self._chords[opening.group] = Tally()
                tally.claim, tally.size = None, opening.size
                tally.lasts(opening.expires, now)

    def grow(self, group: str, members: Iterable[str], expires: float | None) -> None:
        """Let a chord wait for more members."""
        now = time.time()
        with self._lock:
            tally = self._of(group, now)
            tally.added.update(members)
            tally.lasts(expires, now)

    def count(self, parts: Sequence[ChordPart], claim: float) -> None:
        """Count members; those that complete their chord get a claim of so many seconds."""
        now = time.time()
        with self._lock:
            for part in parts:
                tally = self._of(part.group, now)
                part.claim = None
                if tally.done:
                    continue
                place = inf if part.index is None else float(part.index)
                tally.parts.setdefault((place, part.member), part.payload)
                tally.lasts(part.expires, now)
                if tally.complete and (tally.claim is None or tally.until <= now):
                    part.claim = tally.claim = secrets.token_hex(16)
                    tally.until, tally.due = now + claim, part.due

    def overdue(self, claim: float) -> list[DueChord]:
        """Claim the chords whose claim has run out, for so many seconds."""
        now = time.time()
        found = []
        with self._lock:
            for tally in self._chords.values():
                due = tally.due
                if due is not None and not tally.done and tally.claim is not None and tally.until <= now:
                    tally.claim, tally.until = secrets.token_hex(16), now + claim
                    tally.due = DueChord(due.group, tally.claim, due.body, due.sender, due.expires)
                    found.append(tally.due)
        return found

    def joined(self, group: str) -> Iterator[Sequence[bytes]]:
        """What is kept of a chord's members, in their order."""
        with self._lock:
            tally = self._of(group, time.time(), make=False)
            payloads = [payload for _, payload in sorted(tally.parts.items())]
        for at in range(0, len(payloads), CHUNK):
            yield payloads[at : at + CHUNK]

    def extend(self, chord: DueChord, claim: float) -> bool:
        """Go on with a claim; False if another one has it."""
        with self._lock:
            tally = self._of(chord.group, time.time(), make=False)
            if tally.done or tally.claim != chord.claim:
                return False
            tally.until = time.time() + claim
            return True

    def close(self, chord: DueChord) -> bool:
        """Forget what was counted; False if the claim was lost."""
        with self._lock:
            tally = self._of(chord.group, time.time(), make=False)
            if tally.done or tally.claim != chord.claim:
                return False
            tally.done, tally.due = True, None
            tally.parts.clear()
            tally.lasts(DONE_KEPT, time.time())
            return True

    def expire(self) -> None:
        """Forget chords past their time."""
        now = time.time()
        with self._lock:
            for group in [group for group, tally in self._chords.items() if _expired(tally, now)]:
                del self._chords[group]

    def _of(self, group: str, now: float, make: bool = True) -> Tally:
        tally = self._chords.get(group)
        if tally is None or _expired(tally, now):
            tally = Tally()
            if make:
                self._chords[group] = tally
        return tally


def _expired(tally: Tally, now: float) -> bool:
    return tally.expires is not None and tally.expires <= now
