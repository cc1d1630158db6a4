"""The embedded broker: queues in one SQLite file that all processes of a machine share."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from greenq.brokers.base import Broker, Guarantees
from greenq.errors import BrokerError, BrokerUnreachable, GreenqError, PublishError, PublishTimeout
from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement
from greenq.radio import Radio
from greenq.serverfailures import Translation
from greenq.sqlite import leases, upkeep
from greenq.sqlite.claims import Batch, claim, deliveries, take_over
from greenq.sqlite.database import Database, share
from greenq.sqlite.envelope import Unreadable, unpack
from greenq.sqlite.failures import Failure, Late, Unreachable
from greenq.sqlite.job import AGAIN, Job
from greenq.sqlite.messages import Sending, promote, sending, store, waits
from greenq.sqlite.radio import SqliteRadio
from greenq.sqlite.session import Session
from greenq.sqlite.settling import charge, check, give_back, reenter, settle
from pools import native

__all__ = ["SqliteBroker"]


@dataclass(slots=True)
class Process:
    """This process as the file knows it."""

    name: str
    seconds: float
    owner: int
    pid: int


_translation = Translation(BrokerError, BrokerUnreachable)


class SqliteBroker(Broker):
    """Keeps messages in a SQLite file.

    Parameters:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, and perhaps ``?synchronous=normal``.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake.
    """

    guarantees = Guarantees(
        survives_process=True,
        shared=True,
        exact_fetch=True,
        priorities=10,
        limits=(
            "All processes run on one machine; network file systems are not supported.",
            "One process writes at a time; a process that is stopped (SIGSTOP) in a write stops the others.",
            "With ?synchronous=normal a power loss may undo the last publishes; a killed process never does.",
        ),
    )

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.database: Database = share(url)
        self._timeout = timeout
        self._process: Process | None = None
        self._lock = native.Lock()
        self._fetching: list[Job] = []
        self._woken = False
        self._closed = False

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        errors: list[GreenqError | None] = []
        sendings: list[Sending] = []
        for message in messages:
            try:
                sendings.append(sending(message))
                errors.append(None)
            except PublishError as error:
                errors.append(error)
        if not sendings:
            return errors
        try:
            self._open().write(lambda session: store(session, sendings), timeout)
        except Unreachable as error:
            raise BrokerUnreachable(str(error)) from error
        except Failure as error:
            failed: GreenqError = PublishError(f"{error}; nothing was sent")
            if error.uncertain:
                failed = PublishTimeout(f"{error}: the message may have arrived")
            elif isinstance(error, Late):
                failed = PublishError(str(error))
            return [failed if one is None else one for one in errors]
        return errors

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

    def lease(self, process: str, seconds: float) -> None:
        with _translation:
            owner = self._open().write(lambda session: leases.enter(session, process, seconds), self._timeout)
        self._process = Process(process, seconds, owner, os.getpid())

    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        process = self._process
        if self._closed or process is None or process.pid != os.getpid():
            process = self._leased()
        if n < 1:
            return []
        fence = int.from_bytes(os.urandom(8)) >> 2

        def take(session: Session) -> object:
            alive, due = leases.current(session, process.name, process.owner)
            if not alive:
                process.owner = leases.renew(session, process.name, process.owner, process.seconds)
            if not session.entered:
                reenter(session)
            if due:
                promote(session)
            batches = claim(session, queues, n, process.owner, fence)
            return (process.owner, batches) if batches else AGAIN

        def give_up(session: Session, taken: tuple[int, list[Batch]]) -> None:
            owner, batches = taken
            give_back(session, [(owner, id, fence) for batch in batches for id in batch.ids()])

        job = Job(
            take,
            self._timeout,
            write=True,
            patience=max(0.0, timeout),
            probe=partial(waits, queues=queues),
            undo=give_up,
        )
        with self._lock:
            if self._woken:
                self._woken = False
                job.patience = 0.0
            self._fetching.append(job)
        try:
            taken = self.database.run(job)
        except Failure as error:
            raise _translation.of(error) from error
        finally:
            with self._lock:
                self._fetching.remove(job)
        made: list[Delivery] = []
        if taken is not AGAIN:
            owner, batches = taken
            for batch in batches:
                made += deliveries(batch, owner, fence)
        return made

    def wake(self) -> None:
        with self._lock:
            waiting = list(self._fetching)
            self._woken = not waiting
        for job in waiting:
            self.database.hurry(job)

    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        check(settlements)
        if not settlements:
            return []
        with _translation:
            settled: list[bool] = self._open().write(lambda session: settle(session, settlements), timeout)
        return settled

    def renew(self) -> None:
        process = self._leased()

        def prolong(session: Session) -> int:
            reenter(session)
            return leases.renew(session, process.name, process.owner, process.seconds)

        with _translation:
            process.owner = self._open().write(prolong, self._timeout)

    def reap(self) -> int:
        own = self._process.owner if self._process is not None and self._process.pid == os.getpid() else None
        with _translation:
            database = self._open()
            if not database.read(lambda session: leases.expired(session, own), self._timeout):
                return 0
            return int(
                database.write(
                    lambda session: leases.reap(session, leases.expired(session, own), charge=True),
                    self._timeout,
                )
            )

    def release(self, process: str, charge: bool = True) -> int:
        own = self._process is not None and self._process.name == process
        with _translation:
            given_back = self._open().write(
                lambda session: leases.leave(session, process, charge and not own), self._timeout
            )
        return int(given_back)

    # ── suspects ─────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, deliveries: Sequence[Delivery], timeout: float, withdraw: bool = False) -> list[bool]:
        self._open()
        if not deliveries:
            return []
        with _translation:
            charged: list[bool] = self._open().write(
                lambda session: charge(session, deliveries, 0 if withdraw else 1), timeout
            )
        return charged

    def take_over(self, process: str, id: str) -> list[Delivery]:
        own = self._leased()
        fence = secrets.randbits(62)

        def take(session: Session) -> object:
            own.owner = leases.renew(session, own.name, own.owner, own.seconds)
            return take_over(session, process, id, own.owner, fence)

        with _translation:
            taken: list[Delivery] = self._open().write(take, self._timeout)
        return taken

    # ── looking after queues ─────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Sequence[str]) -> None:
        with _translation:
            self._open().write(lambda session: upkeep.declare(session, queues), self._timeout)

    def radio(self) -> Radio:
        return SqliteRadio(self._open())

    def depth(self) -> dict[str, Depth]:
        with _translation:
            depths: dict[str, Depth] = self._open().read(upkeep.depth, self._timeout)
        return depths

    def purge(self, queue: str) -> int:
        deadline = time.monotonic() + self._timeout
        purged = 0
        with _translation:
            database = self._open()
            until = database.read(upkeep.newest, self._timeout)
            while dropped := database.write(
                lambda session: upkeep.purge(session, queue, until), deadline - time.monotonic()
            ):
                purged += dropped
        return purged

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        with _translation:
            found = self._open().read(lambda session: upkeep.dead(session, queue, limit), self._timeout)
        return [_letter(one) for one in found]

    def replay(self, key: str) -> bool:
        if not (key.isascii() and key.isdecimal() and len(key) < 19):
            return False
        with _translation:
            return bool(self._open().write(lambda session: upkeep.replay(session, int(key)), self._timeout))

    def bury(self, queue: str | None = None) -> int:
        with _translation:
            return int(self._open().write(lambda session: upkeep.bury(session, queue), self._timeout))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.wake()
        self.database.release()

    def _open(self) -> Database:
        if self._closed:
            raise BrokerError("this broker is closed: make another one")
        return self.database

    def _leased(self) -> Process:
        self._open()
        if self._process is None or self._process.pid != os.getpid():
            raise BrokerError("this process has no lease: call lease() before fetch() and renew()")
        return self._process


def _letter(found: upkeep.Dead) -> DeadLetter:
    key, died = str(found.key), found.died
    try:
        message = unpack(found.queue, found.rank, found.envelope, found.body)
    except Unreadable:
        return DeadLetter(key, found.queue, found.reason, died, None, found.envelope or b"", found.trace)
    return DeadLetter(key, found.queue, found.reason, died, message, b"", found.trace)
