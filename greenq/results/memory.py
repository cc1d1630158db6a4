"""A result store inside one process, for tests and small programs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from greenq.brokers.base import Broker
from greenq.brokers.memory import MemoryBroker, name_of
from greenq.brokers.space import Place
from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.errors import ResultStoreError
from greenq.message import READY_STATES, Outcome, Result, Settlement
from greenq.results.base import ResultStore
from greenq.results.memorychords import Counts
from greenq.results.waiting import Waiters
from greenq.sqlite.settling import check
from pools import native

__all__ = ["MemoryStore"]

Record = tuple[bool, float | None, bytes]
"""Whether it is terminal, when it expires (seconds since the epoch), and the payload."""


class Shelf:
    """What memory stores of one name share."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with nothing: at first, and in a forked child."""
        self.lock = native.Lock()
        self.records: dict[str, Record] = {}
        self.waiters = Waiters()
        self.counts = Counts()

    def put(self, results: Iterable[Result]) -> None:
        """Keep results; a terminal one that is there stays."""
        now = time.time()
        ended: dict[str, bytes] = {}
        with self.lock:
            for result in results:
                known = self.records.get(result.id)
                if known is not None and known[0] and not _expired(known, now):
                    continue
                terminal = result.state in READY_STATES
                expires = None if result.expires is None else now + result.expires
                self.records[result.id] = terminal, expires, result.payload
                if terminal:
                    ended[result.id] = result.payload
        self.waiters.tell(ended)

    def find(self, ids: Iterable[str], terminal: bool = False) -> dict[str, bytes]:
        """The payloads of those that are there, perhaps only of those that have ended."""
        now = time.time()
        with self.lock:
            found = {id: self.records[id] for id in ids if id in self.records}
        return {id: r[2] for id, r in found.items() if r[0] >= terminal and not _expired(r, now)}

    def drop(self, ids: Iterable[str]) -> None:
        """Forget results."""
        with self.lock:
            for id in ids:
                self.records.pop(id, None)

    def expire(self) -> int:
        """Forget those past their time."""
        now = time.time()
        with self.lock:
            gone = [id for id, record in self.records.items() if _expired(record, now)]
            for id in gone:
                del self.records[id]
        return len(gone)


def _expired(record: Record, now: float) -> bool:
    return record[1] is not None and record[1] <= now


_shelves: dict[str, Shelf] = {}
_lock = native.Lock()


def _after_fork() -> None:
    global _lock
    _lock = native.Lock()
    for shelf in _shelves.values():
        shelf.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MemoryStore(ResultStore):
    """Keeps results in this process's memory.

    Parameters:
        url: ``memory://name``; stores of the same name share their results.
        encode, decode: see `ResultStore`.
        timeout: taken for the sake of the other stores; nothing here takes long.

    Raises:
        ConfigError: the address has a mistake.
    """

    def __init__(
        self,
        url: str,
        encode: Callable[[dict[str, Any]], bytes],
        decode: Callable[[bytes], dict[str, Any]],
        timeout: float = 30.0,
    ) -> None:
        super().__init__(encode, decode)
        with _lock:
            self._shelf = _shelves.setdefault(name_of(url), Shelf())
        self._closed = native.Signal()

    def put(self, results: Sequence[Result], timeout: float) -> None:
        self._open().put(results)

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        return self._decoded(self._open().find(ids))

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        wanted = frozenset(ids)
        shelf = self._open()
        if not wanted:
            return {}
        with shelf.waiters.waiting(wanted) as waiter:
            found = shelf.find(wanted, terminal=True)
            if not found and waiter.signal.wait(max(0.0, timeout)):
                found = dict(waiter.found)
                self._open()
        return self._decoded(found)

    def commit(self, broker: Broker, outcomes: Sequence[Outcome], timeout: float) -> list[bool] | None:
        if not isinstance(broker, MemoryBroker):
            return None
        shelf = self._shelf
        if self._closed.is_set:
            self._open()
        settlements: list[Settlement] = []
        places: dict[int, list[Place]] = {}
        for outcome in outcomes:
            if outcome.settlement is not None:
                settlements.append(outcome.settlement)
            if outcome.publishes:
                places[id(outcome)] = [Place.of(message) for message in outcome.publishes]
        check(settlements)
        done: list[bool] = []
        space = broker.space
        with space.lock:
            for outcome in outcomes:
                held = outcome.settlement is None or space.end(outcome.settlement)
                done.append(held)
                if not held:
                    continue
                if outcome.openings:
                    self.open_chords(outcome.openings, timeout)
                if outcome.publishes:
                    space.add(places[id(outcome)])
                if outcome.result is not None:
                    shelf.put([outcome.result])
                if outcome.further or outcome.parts:
                    shelf.put(outcome.further)
                    shelf.counts.count(outcome.parts, self.claim)
        return done

    # ── chords ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def refuses_chords(self) -> str | None:
        return None

    def open_chords(self, openings: Sequence[ChordOpening], timeout: float) -> None:
        for opening in openings:
            if opening.shape is not None:
                self.save_group(opening.group, opening.shape, opening.expires, timeout)
        self._open().counts.open(openings)

    def grow_chord(self, group: str, members: Sequence[str], expires: float | None, timeout: float) -> None:
        self._open().counts.grow(group, members, expires)

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        self._open().counts.count(parts, self.claim)

    def overdue_chords(self, timeout: float) -> list[DueChord]:
        return self._open().counts.overdue(self.claim)

    def joined(self, group: str, timeout: float) -> Iterator[Sequence[bytes]]:
        return self._open().counts.joined(group)

    def extend_claim(self, chord: DueChord, timeout: float) -> bool:
        return self._open().counts.extend(chord, self.claim)

    def close_chord(self, chord: DueChord, timeout: float) -> bool:
        return self._open().counts.close(chord)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        self._open().drop(ids)

    def expire(self) -> int:
        shelf = self._open()
        shelf.counts.expire()
        return shelf.expire()

    def close(self) -> None:
        self._closed.set()

    def _open(self) -> Shelf:
        if self._closed.is_set:
            raise ResultStoreError("this result store is closed: make another one")
        return self._shelf

    def _decoded(self, found: dict[str, bytes]) -> dict[str, Result]:
        return {id: self.decode(payload) for id, payload in found.items()}
