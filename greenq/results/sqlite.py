"""The embedded result store: results in the SQLite file that may hold the queues too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from greenq.brokers.base import Broker
from greenq.brokers.sqlite import SqliteBroker
from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.errors import ResultStoreError
from greenq.message import READY_STATES, Outcome, Result, Settlement, Verdict
from greenq.results.base import GROUP, ResultStore
from greenq.results.waiting import Waiters
from greenq.serverfailures import Translation
from greenq.sqlite import chords, records
from greenq.sqlite.database import Database, share
from greenq.sqlite.failures import Failure
from greenq.sqlite.job import Job
from greenq.sqlite.messages import Sending, sending, store
from greenq.sqlite.records import Record
from greenq.sqlite.session import Session
from greenq.sqlite.settling import check, settle

__all__ = ["SqliteStore"]

PIECE = 500
"""Members of a chord in one piece of what is joined."""
CHUNK = 5000
"""How many expired results one transaction drops: others get a turn in between."""


_translation = Translation(ResultStoreError)


class Reader:
    """Reads what is new for all waiters of a store; works in the thread that owns the connection."""

    def __init__(self) -> None:
        self.waiters = Waiters()
        self.pid = os.getpid()
        self._since: int | None = None

    def active(self) -> bool:
        """Whether anybody waits."""
        if not self.waiters:
            self._since = None
        return self._since is not None

    def follow(self, session: Session, ids: frozenset[str]) -> dict[str, bytes]:
        """Return those that have ended already, and see to it that no later one is missed."""
        if self._since is None:
            self._since = records.latest(session)
        return records.find(session, ids, terminal=True)

    def look(self, session: Session) -> None:
        """Tell the waiters what has ended since the last look."""
        if self._since is None:
            return
        since, ids = records.news(session, self._since)
        wanted = self.waiters.wanted(ids)
        if wanted:
            self.waiters.tell(records.find(session, wanted, terminal=True))
        self._since = since


class SqliteStore(ResultStore):
    """Keeps results in a SQLite file.

    Parameters:
        url: as `SqliteBroker` has it; the same address makes the same file.
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

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
        self.database: Database = share(url)
        self._timeout = timeout
        self._reader: Reader | None = None
        self._closed = False

    def put(self, results: Sequence[Result], timeout: float) -> None:
        if not results:
            return
        kept = [_record(result) for result in results]
        with _translation:
            self._open().write(lambda session: records.store(session, kept), timeout)

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        wanted = set(ids)
        if not wanted:
            return {}
        with _translation:
            found = self._open().read(lambda session: records.find(session, wanted), timeout)
        return {id: self.decode(payload) for id, payload in found.items()}

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        wanted = frozenset(ids)
        database = self._open()
        if not wanted:
            return {}
        deadline = time.monotonic() + timeout
        reader = self._reading()
        with reader.waiters.waiting(wanted) as waiter:
            with _translation:
                found = database.read(lambda session: reader.follow(session, wanted), self._timeout)
            if not found and waiter.signal.wait(max(0.0, deadline - time.monotonic())):
                found = dict(waiter.found)
                self._open()
        return {id: self.decode(payload) for id, payload in found.items()}

    def commit(self, broker: Broker, outcomes: Sequence[Outcome], timeout: float) -> list[bool] | None:
        if not isinstance(broker, SqliteBroker) or broker.database is not self.database:
            return None
        if not outcomes:
            return []
        if self._closed:
            self._open()
        settlements: list[Settlement] = []
        work: Callable[[Session], list[bool]] = partial(settle, settlements=settlements)
        for outcome in outcomes:
            settlement = outcome.settlement
            if (
                settlement is None or settlement.verdict is Verdict.RETRY_AT or outcome.result is not None
                or outcome.publishes or outcome.openings or outcome.further or outcome.parts
            ):  # fmt: skip
                work = self._everything(outcomes)
                break
            settlements.append(settlement)
        try:
            committed: list[bool] = self.database.run(Job(work, timeout, write=True))
        except Failure as error:
            raise ResultStoreError(str(error)) from error
        return committed

    def _everything(self, outcomes: Sequence[Outcome]) -> Callable[[Session], list[bool]]:
        """What is done, in one transaction, for outcomes that are more than settlements.

        Raises:
            PublishError: a child cannot be kept.
            BrokerError: a message is to be put back for later, and nobody said when.
        """
        settlements: list[Settlement] = []
        prepared: list[tuple[Outcome, Sequence[Sending], Record | None]] = []
        for outcome in outcomes:
            if outcome.settlement is not None:
                settlements.append(outcome.settlement)
                if outcome.settlement.verdict is Verdict.RETRY_AT:
                    check(settlements[-1:])
            children = [sending(message) for message in outcome.publishes] if outcome.publishes else ()
            prepared.append((outcome, children, None if outcome.result is None else _record(outcome.result)))
        shapes: dict[str, Record | None] = {}
        for outcome in outcomes:
            for one in outcome.openings:
                shapes[one.group] = self._shape(one)

        def everything(session: Session) -> list[bool]:
            settled = iter(settle(session, settlements))
            done: list[bool] = []
            sendings: list[Sending] = []
            kept: list[Record] = []
            openings: list[ChordOpening] = []
            parts: list[ChordPart] = []
            for outcome, children, record in prepared:
                held = outcome.settlement is None or next(settled)
                done.append(held)
                if held:
                    sendings += children
                    if record is not None:
                        kept.append(record)
                    if outcome.openings or outcome.further or outcome.parts:
                        kept += [_record(one) for one in outcome.further]
                        openings.extend(outcome.openings)
                        parts.extend(outcome.parts)
            if openings:
                kept += [shape for one in openings if (shape := shapes.get(one.group)) is not None]
                chords.opening(session, openings)
            if sendings:
                store(session, sendings)
            if kept:
                records.store(session, kept)
            if parts:
                chords.count(session, parts, self.claim)
            return done

        return everything

    # ── chords ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def refuses_chords(self) -> str | None:
        return None

    def open_chords(self, openings: Sequence[ChordOpening], timeout: float) -> None:
        shapes = [record for opening in openings if (record := self._shape(opening)) is not None]

        def begin(session: Session) -> None:
            records.store(session, shapes)
            chords.opening(session, openings)

        with _translation:
            self._open().write(begin, timeout)

    def _shape(self, opening: ChordOpening) -> Record | None:
        """The record of a nested chord's shape."""
        if opening.shape is None:
            return None
        tree = Result(GROUP + opening.group, "GROUP", opening.shape, expires=opening.expires)
        self.encode(tree)
        return _record(tree)

    def grow_chord(self, group: str, members: Sequence[str], expires: float | None, timeout: float) -> None:
        with _translation:
            self._open().write(lambda session: chords.grow(session, group, members, expires), timeout)

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        with _translation:
            self._open().write(lambda session: chords.count(session, parts, self.claim), timeout)

    def overdue_chords(self, timeout: float) -> list[DueChord]:
        with _translation:
            claimed = self._open().write(lambda session: chords.overdue(session, self.claim), timeout)
        found = [self._recall(group, claim, record) for group, claim, record in claimed]
        return [chord for chord in found if chord is not None]

    def joined(self, group: str, timeout: float) -> Iterator[Sequence[bytes]]:
        last: tuple[float, str] | None = None
        while True:
            with _translation:
                rows = self._open().read(partial(chords.joined, group=group, after=last, most=PIECE), timeout)
            if not rows:
                return
            last = rows[-1][:2]
            yield [payload for _, _, payload in rows]

    def extend_claim(self, chord: DueChord, timeout: float) -> bool:
        with _translation:
            extended: bool = self._open().write(
                lambda session: chords.extend(session, chord.group, chord.claim, self.claim), timeout
            )
        return extended

    def close_chord(self, chord: DueChord, timeout: float) -> bool:
        with _translation:
            closed: bool = self._open().write(
                lambda session: chords.close(session, chord.group, chord.claim), timeout
            )
        return closed

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        unwanted = list(ids)
        with _translation:
            self._open().write(lambda session: records.drop(session, unwanted), self._timeout)

    def expire(self) -> int:
        deadline = time.monotonic() + self._timeout
        expired = 0
        with _translation:
            self._open().write(lambda session: chords.expire(session, CHUNK), self._timeout)
            while dropped := self._open().write(
                lambda session: records.expire(session, CHUNK), deadline - time.monotonic()
            ):
                expired += dropped
        return expired

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._reader is not None:
            self.database.ignore(self._reader)
            self._reader.waiters.release()
        self.database.release()

    def _open(self) -> Database:
        if self._closed:
            raise ResultStoreError("this result store is closed: make another one")
        return self.database

    def _reading(self) -> Reader:
        """Return this process's reader: one that a fork copied belongs to the parent."""
        if self._reader is None or self._reader.pid != os.getpid():
            self._reader = Reader()
            self.database.observe(self._reader)
        return self._reader


def _record(result: Result) -> Record:
    try:
        result.id.encode()
    except UnicodeEncodeError as error:
        raise ResultStoreError(f"the task's id {result.id!a} is not valid Unicode: choose another") from error
    expires = None if result.expires is None else time.time() + result.expires
    return Record(result.id, result.state in READY_STATES, expires, result.payload)
