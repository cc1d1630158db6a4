"""The calls by which chords are counted on a Redis server; see `greenq.redis.chordscripts` for the keys."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.redis.chordscripts import CLOSE, COUNT, EXTEND, GROW, OPEN, RECLAIM
from greenq.redis.client import Client
from greenq.redis.failures import Failure

__all__ = ["ChordKeys", "Chords", "keep_claims"]

CHUNK, CHUNK_BYTES = 2000, 4_000_000
"""Members, and the bytes of what they returned, in one round trip."""
FIRST = 50
"""Members in the first one: it is not known yet how large they are."""
FAILED_KEPT = 86_400
"""Seconds that the members of a chord that failed are kept, where results are kept for ever."""
MOST_OVERDUE = 100
"""Chords that one look claims."""


class ChordKeys:
    """How the keys of chords are named.

    Parameters:
        prefix: of all keys of this address.
        groups: what comes before a group's id, that prefix included.
    """

    def __init__(self, prefix: str, groups: str) -> None:
        self.groups = groups
        self.due = f"{prefix}greenq.chords"
        self.records = f"{prefix}greenq.chords.records"

    def of(self, group: str, *ends: str) -> list[str]:
        """The keys of a group with these endings."""
        base = self.groups + group
        return [base + end for end in ends]

    def part(self, part: ChordPart, claim: float) -> list[Any]:
        """What the scripts take of one member that has ended; a claim lasts so many seconds."""
        place = "+inf" if part.index is None else str(part.index)
        if part.claim is None:
            # Known before it is sent: if the same step is sent again, it is the same claim.
            part.claim = secrets.token_hex(16)
        return [
            *self.of(part.group, ".j", ".t", ".s", ".d", "", ".c"), self.due, self.records, part.group,
            f"{part.member}:{place}", place, part.payload, _seconds(part.expires), part.claim,
            _milliseconds(claim), part.record,
        ]  # fmt: skip

    def opening(self, opening: ChordOpening, shape: bytes) -> list[Any]:
        """What the scripts take of one chord that begins.

        Parameters:
            shape: its shape, encoded; empty if it has none.
        """
        return [
            *self.of(opening.group, ".s", ".t", ".c", "", ".a"), opening.size, _seconds(opening.expires),
            int(opening.anew), shape,
        ]  # fmt: skip


class Chords:
    """Counts members on one server; claims last so many seconds."""

    def __init__(self, client: Client, keys: ChordKeys) -> None:
        self._client = client
        self.keys = keys

    def open(self, openings: Sequence[tuple[ChordOpening, bytes]], deadline: float) -> None:
        """Say how many members chords have; each opening with its shape."""
        arguments = [a for opening, shape in openings for a in self.keys.opening(opening, shape)]
        self._client.script(OPEN, arguments, deadline, again=True)

    def grow(self, group: str, members: Sequence[str], expires: float | None, deadline: float) -> None:
        """Let a chord wait for members that were added while it runs."""
        arguments = [*self.keys.of(group, ".t", ".a"), _seconds(expires), *members]
        self._client.script(GROW, arguments, deadline, again=True)

    def count(self, parts: Sequence[ChordPart], claim: float, deadline: float) -> None:
        """Count members; those that complete their chord keep their claim."""
        for some in _pieces(parts):
            arguments = [argument for part in some for argument in self.keys.part(part, claim)]
            complete = self._client.script(COUNT, arguments, deadline, again=True)
            if not isinstance(complete, list):
                raise Failure(f"the answer to a count makes no sense: {complete!r:.80}", True)
            keep_claims(some, complete)

    def joined(self, group: str, deadline: float) -> Iterator[list[bytes]]:
        """What is kept of a chord's members, in their order, in pieces."""
        [key] = self.keys.of(group, ".j")
        kind = self._client.do("TYPE", key, deadline=deadline, again=True)
        command = "LRANGE" if kind in (b"list", "list") else "ZRANGE"
        at, chunk, largest = 0, FIRST, 1
        while some := self._client.do(command, key, at, at + chunk - 1, deadline=deadline, again=True):
            yield some
            at += len(some)
            largest = max(largest, *map(len, some))
            chunk = max(1, min(CHUNK, CHUNK_BYTES // largest))

    def overdue(self, lasts: float, deadline: float) -> list[tuple[str, str, bytes]]:
        """Claim chords whose body was not sent in time: group, claim, and what is needed to send it."""
        now = self._client.do("TIME", deadline=deadline, again=True)
        latest = int(now[0]) * 1000 + int(now[1]) // 1000
        late = self._client.do(
            "ZRANGEBYSCORE", self.keys.due, "-inf", latest, "LIMIT", 0, MOST_OVERDUE,
            deadline=deadline, again=True,
        )  # fmt: skip
        claimed = []
        for raw in late:
            group, claim = raw.decode(errors="surrogateescape"), secrets.token_hex(16)
            arguments = [
                *self.keys.of(group, ".c", ".s"), self.keys.due, self.keys.records, group, claim,
                _milliseconds(lasts),
            ]  # fmt: skip
            record = self._client.script(RECLAIM, arguments, deadline)
            if record is not None:
                claimed.append((group, claim, record))
        return claimed

    def extend(self, chord: DueChord, lasts: float, deadline: float) -> bool:
        """Go on with a claim; False if another one has it."""
        arguments = [
            *self.keys.of(chord.group, ".c", ".s"), self.keys.due, chord.group, chord.claim,
            _milliseconds(lasts),
        ]  # fmt: skip
        return bool(self._client.script(EXTEND, arguments, deadline, again=True))

    def close(self, chord: DueChord, deadline: float) -> bool:
        """Forget what was counted; False if the claim was lost."""
        arguments = [
            *self.keys.of(chord.group, ".c", ".j", ".t", ".s", ".d", ".a"), self.keys.due, self.keys.records,
            chord.group, chord.claim, math.ceil(chord.expires or FAILED_KEPT) if chord.failed else "",
        ]  # fmt: skip
        return bool(self._client.script(CLOSE, arguments, deadline))


def keep_claims(parts: Sequence[ChordPart], complete: Sequence[int]) -> None:
    """Leave the claims only with those parts that complete their chord."""
    places = frozenset(complete)
    for place, part in enumerate(parts):
        if place not in places:
            part.claim = None


def _pieces(parts: Sequence[ChordPart]) -> Iterator[list[ChordPart]]:
    some: list[ChordPart] = []
    size = 0
    for part in parts:
        some.append(part)
        size += len(part.payload) + len(part.record)
        if len(some) >= CHUNK or size >= CHUNK_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _seconds(expires: float | None) -> str:
    return "" if expires is None else str(max(1, math.ceil(expires)))
