"""The Redis result store: Celery's keys and payloads, pushed to whoever waits."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from greenq.brokers.base import Broker
from greenq.brokers.redis import RedisBroker
from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.errors import ResultStoreError
from greenq.message import READY_STATES, Outcome, Result, Settlement, Verdict
from greenq.redis.address import Address, parse
from greenq.redis.chords import ChordKeys, Chords
from greenq.redis.client import Client
from greenq.redis.failures import Failure, Late
from greenq.redis.scripts import STORE
from greenq.redis.settling import (
    BAD_LIST,
    DONE,
    UNDECIDED,
    Step,
    Stored,
    Workflow,
    carry_out,
    lasting,
    settle,
)
from greenq.redis.subscriber import LARGE, Question, Subscriber
from greenq.results.base import GROUP, ResultStore
from greenq.results.waiting import Waiters
from greenq.serverfailures import Translation
from pools import native

__all__ = ["RedisStore"]

PREFIX = "celery-task-meta-"
CHUNK = 1000
CHUNK_BYTES = 4_000_000
"""Results, and their bytes, of one round trip."""


_translation = Translation(ResultStoreError)


class RedisStore(ResultStore):
    """Keeps results where and as Celery's Redis backend does.

    Parameters:
        url: see `greenq.redis.address.parse`; with the broker's server and database, results are stored in
            the same step that ends the lease.
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake.

    Source: celery.backends.redis (``_set``, ``ResultConsumer``).
    """

    def __init__(
        self,
        url: str,
        encode: Callable[[dict[str, Any]], bytes],
        decode: Callable[[bytes], dict[str, Any]],
        timeout: float = 30.0,
    ) -> None:
        super().__init__(encode, decode)
        self.address: Address = parse(url)
        self._prefix = self.address.prefix + PREFIX
        self._client = Client(self.address)
        self._chords = Chords(self._client, ChordKeys(self.address.prefix, self.address.prefix + GROUP))
        self._timeout = timeout
        self._lock = native.Lock()
        self._waiters = Waiters()
        self._subscriber: Subscriber | None = None
        self._fused: RedisBroker | None = None
        """A broker on the same server and database, as found out before."""
        self._closed = False

    # ── storing ──────────────────────────────────────────────────────────────────────────────────────────

    def put(self, results: Sequence[Result], timeout: float) -> None:
        self._open()
        deadline = time.monotonic() + timeout
        pending = [(self._key(result.id), result, b"") for result in results]
        with _translation:
            while pending:
                some, pending = _some(pending)
                arguments = [
                    argument
                    for key, result, seen in some
                    for argument in (key, result.payload, lasting(result), seen)
                ]
                undecided = self._client.script(STORE, arguments, deadline, again=True)
                pending += self._decide([some[i] for i in undecided], deadline)

    def _decide(
        self, undecided: Sequence[tuple[str, Result, bytes]], deadline: float
    ) -> list[tuple[str, Result, bytes]]:
        """Those results that may take the place of what stands there, with what that is."""
        if not undecided:
            return []
        stored = self._values([key for key, *_ in undecided], deadline)
        return [
            (key, result, seen or b"")
            for (key, result, _), seen in zip(undecided, stored, strict=True)
            if not self._is_terminal(seen)
        ]

    def commit(self, broker: Broker, outcomes: Sequence[Outcome], timeout: float) -> list[bool] | None:
        if broker is not self._fused:
            if not isinstance(broker, RedisBroker) or broker.address.server != self.address.server:
                return None
            self._fused = broker
        if self._closed:
            self._open()
        deadline = time.monotonic() + timeout
        settlements: list[Settlement] = []
        for outcome in outcomes:
            if (
                outcome.result is not None
                or outcome.publishes
                or outcome.settlement is None
                or outcome.parts
                or outcome.further
            ):
                break
            settlements.append(outcome.settlement)
        try:
            if outcomes and len(settlements) == len(outcomes):  # none has a result: a lighter script
                return settle(broker.client, broker.keys, settlements, deadline)
            return self._commit(broker, outcomes, deadline)
        except Failure as error:
            raise ResultStoreError(str(error)) from error

    def _commit(self, broker: RedisBroker, outcomes: Sequence[Outcome], deadline: float) -> list[bool] | None:
        steps = [self.step(outcome) for outcome in outcomes]
        children = [message for outcome in outcomes for message in outcome.publishes]
        if any(message.exchange for message in children):
            return None  # its queues are found in tables that this script does not read
        if children:
            broker.publisher.announce(children, deadline)
        states = carry_out(broker.client, broker.keys, steps, deadline)
        while left := [i for i, state in enumerate(states) if state in (UNDECIDED, BAD_LIST)]:
            self._mend([(steps[i], states[i]) for i in left], deadline)
            again = carry_out(broker.client, broker.keys, [steps[i] for i in left], deadline)
            for i, state in zip(left, again, strict=True):
                states[i] = state
        return [state == DONE for state in states]

    def step(self, outcome: Outcome) -> Step:
        """An outcome as the script takes it."""
        return Step(
            outcome.settlement,
            outcome.publishes,
            None if outcome.result is None else Stored(self._key(outcome.result.id), outcome.result),
            self._workflow(outcome) if outcome.openings or outcome.parts or outcome.further else None,
        )

    def _mend(self, steps: Sequence[tuple[Step, int]], deadline: float) -> None:
        """Change steps that could not be carried out so that they can be."""
        undecided = [(step, one) for step, state in steps if state == UNDECIDED for one in step.results()]
        if undecided:
            standing = self._values([stored.key for _, stored in undecided], deadline)
            for (step, stored), seen in zip(undecided, standing, strict=True):
                stored.seen = seen or b""
                if self._is_terminal(seen):
                    step.drop(stored)
        for step, state in steps:
            if state == BAD_LIST:
                # A child that can never be sent must not be dropped in silence: keep its parent instead.
                reason = "what was to follow could not be sent: its queue's name is taken by another key"
                step.children = []
                if step.settlement is not None:
                    step.settlement = Settlement(step.settlement.delivery, Verdict.DEAD, reason=reason)

    def _workflow(self, outcome: Outcome) -> Workflow:
        return Workflow(
            self._chords.keys,
            self.claim,
            [(opening, self._shape(opening)) for opening in outcome.openings],
            [Stored(self._key(result.id), result) for result in outcome.further],
            outcome.parts,
        )

    def _is_terminal(self, payload: bytes | None, unreadable: bool = False) -> bool:
        """Whether it is a record of a task that has ended; `unreadable` if it is no record."""
        if payload is None:
            return False
        try:
            return self.decode(payload).state in READY_STATES
        except Exception:
            return unreadable

    # ── groups and chords ────────────────────────────────────────────────────────────────────────────────

    def save_group(self, id: str, tree: Any, expires: float | None, timeout: float) -> None:
        self._open()
        [key] = self._chords.keys.of(id, "")
        lasts = () if expires is None else ("EX", max(1, math.ceil(expires)))
        with _translation:
            value = self._encode({"result": tree})
            self._client.do("SET", key, value, *lasts, deadline=time.monotonic() + timeout, again=True)

    def restore_group(self, id: str, timeout: float) -> Any:
        self._open()
        with _translation:
            raw = self._client.do(
                "GET", *self._chords.keys.of(id, ""), deadline=time.monotonic() + timeout, again=True
            )
        record = None if raw is None else self._decode(raw)
        return record.get("result") if isinstance(record, dict) else None

    def forget_group(self, id: str) -> None:
        self._open()
        keys = self._chords.keys.of(id, "")
        with _translation:
            self._client.do("DEL", *keys, deadline=time.monotonic() + self._timeout, again=True)

    @property
    def refuses_chords(self) -> str | None:
        return None

    def _shape(self, opening: ChordOpening) -> bytes:
        return b"" if opening.shape is None else self._encode({"result": opening.shape})

    def open_chords(self, openings: Sequence[ChordOpening], timeout: float) -> None:
        self._open()
        with _translation:
            shaped = [(opening, self._shape(opening)) for opening in openings]
            self._chords.open(shaped, time.monotonic() + timeout)

    def grow_chord(self, group: str, members: Sequence[str], expires: float | None, timeout: float) -> None:
        self._open()
        with _translation:
            self._chords.grow(group, members, expires, time.monotonic() + timeout)

    def count(self, parts: Sequence[ChordPart], timeout: float) -> None:
        self._open()
        with _translation:
            self._chords.count(parts, self.claim, time.monotonic() + timeout)

    def overdue_chords(self, timeout: float) -> list[DueChord]:
        self._open()
        with _translation:
            claimed = self._chords.overdue(self.claim, time.monotonic() + timeout)
        found = [self._recall(group, claim, record) for group, claim, record in claimed]
        return [chord for chord in found if chord is not None]

    def joined(self, group: str, timeout: float) -> Iterator[Sequence[bytes]]:
        self._open()
        with _translation:
            yield from self._chords.joined(group, time.monotonic() + timeout)

    def extend_claim(self, chord: DueChord, timeout: float) -> bool:
        self._open()
        with _translation:
            return self._chords.extend(chord, self.claim, time.monotonic() + timeout)

    def close_chord(self, chord: DueChord, timeout: float) -> bool:
        self._open()
        with _translation:
            return self._chords.close(chord, time.monotonic() + timeout)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def get(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        self._open()
        by_key = {self._key(id): id for id in ids}
        with _translation:
            stored = self._read(list(by_key), time.monotonic() + timeout)
        return {by_key[key]: self.decode(raw) for key, raw in stored.items()}

    def _read(self, keys: list[str], deadline: float) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for at in range(0, len(keys), CHUNK):
            some = keys[at : at + CHUNK]
            stored = self._values(some, deadline)
            found.update((key, raw) for key, raw in zip(some, stored, strict=True) if raw is not None)
        return found

    def _values(self, keys: list[str], deadline: float) -> list[bytes | None]:
        """What is stored under each key."""
        stored = self._client.do("MGET", *keys, deadline=deadline, again=True)
        if (
            not isinstance(stored, list)
            or len(stored) != len(keys)
            or any(type(raw) is not bytes for raw in stored if raw is not None)
        ):
            raise Failure(f"the answer to a look for results makes no sense: {stored!r:.80}", True)
        return stored

    def _stored(self, keys: list[str]) -> dict[str, bytes]:
        return self._read(keys, time.monotonic() + self._timeout)

    def wait(self, ids: Iterable[str], timeout: float) -> dict[str, Result]:
        wanted = frozenset(ids)
        self._open()
        if not wanted:
            return {}
        deadline = time.monotonic() + timeout
        by_key = {self._key(id): id for id in wanted}
        subscriber = self._listening()
        try:
            found = self._await(subscriber, list(by_key), deadline)
        finally:
            subscriber.leave(by_key)
        return {by_key[key]: self.decode(raw) for key, raw in found.items()}

    def _await(self, subscriber: Subscriber, keys: list[str], deadline: float) -> dict[str, bytes]:
        with self._waiters.waiting(frozenset(keys)) as waiter, _translation:

            def answered(stored: dict[str, bytes]) -> None:
                ended = {key: raw for key, raw in stored.items() if self._is_terminal(raw, True)}
                if ended or question.error is not None:
                    waiter.found.update(ended)
                    waiter.signal.set()

            question = Question(keys, answered)
            alone = len(keys) <= LARGE
            subscriber.ask(question)
            # Be the wait ever so short: what is there already is told.
            told = subscriber.wait(waiter.signal, deadline, alone) or subscriber.wait(
                question.signal, time.monotonic() + self._timeout, alone
            )
            if not told:
                raise Late("it did not answer in time")
            self._open()
            if question.error is not None:
                raise question.error
            return dict(waiter.found)

    def _listening(self) -> Subscriber:
        """This process's subscriber: one that a fork copied belongs to the parent."""
        with self._lock:
            if self._subscriber is None or self._subscriber.pid != os.getpid():
                self._waiters = Waiters()
                self._subscriber = Subscriber(self.address, self._heard, self._waiters.all, self._stored)
            return self._subscriber

    def _heard(self, stored: dict[str, bytes]) -> None:
        wanted = self._waiters.wanted(stored)
        # Whoever waits for what cannot be read is told, and finds out why as it decodes it.
        ended = {key: stored[key] for key in wanted if self._is_terminal(stored[key], True)}
        if ended:
            self._waiters.tell(ended)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def forget(self, ids: Iterable[str]) -> None:
        self._open()
        keys = [self._key(id) for id in ids]
        with _translation:
            for at in range(0, len(keys), CHUNK):
                self._client.do(
                    "DEL", *keys[at : at + CHUNK], deadline=time.monotonic() + self._timeout, again=True
                )

    def expire(self) -> int:
        """Nothing to do: the server drops what is past its time."""
        self._open()
        return 0

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._client.close()
        if self._subscriber is not None:
            self._subscriber.close()
        self._waiters.release()

    def _open(self) -> None:
        if self._closed:
            raise ResultStoreError("this result store is closed: make another one")

    def _key(self, id: str) -> str:
        try:
            id.encode()
        except UnicodeEncodeError as error:
            raise ResultStoreError(f"the task's id {id!a} is not valid Unicode: choose another") from error
        return self._prefix + id


def _some(
    pending: list[tuple[str, Result, bytes]],
) -> tuple[list[tuple[str, Result, bytes]], list[tuple[str, Result, bytes]]]:
    """Split off as many results as one round trip takes, each id once so that their order stays."""
    size, seen = 0, set()
    for i, (key, result, _) in enumerate(pending):
        size += len(result.payload)
        if i and (i >= CHUNK or size > CHUNK_BYTES or key in seen):
            return pending[:i], pending[i:]
        seen.add(key)
    return pending, []
