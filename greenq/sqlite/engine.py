"""The thread that owns the connection to the embedded database.

A lock wait, a slow disk or a checkpoint stops this thread and never a hub. Jobs that arrive while it works
share its next transaction, so that a hundred green threads that publish at once pay for one sync.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import time
from contextlib import suppress
from typing import Any, Protocol

from greenq.sqlite.address import Address
from greenq.sqlite.failures import Failure, Late, explain, is_busy
from greenq.sqlite.inbox import Inbox
from greenq.sqlite.job import AGAIN, Job, Stage
from greenq.sqlite.log import COMMITS, LENGTH, Log
from greenq.sqlite.schema import connect
from greenq.sqlite.session import Session
from greenq.sqlite.watch import SLOWEST, Watch, announce, watch
from pools import native

__all__ = ["Engine", "Observer"]

logger = logging.getLogger("greenq.sqlite")

GROUP = 512
"""How many jobs share a transaction at most."""
LONG_WAIT = 1.0
"""Seconds of waiting for the write lock after which others may not have been able to renew their leases."""
FIRST_WAIT, LAST_WAIT = 0.0002, 0.005
"""Between two tries to get the write lock, in seconds; SQLite's own pauses grow to 100 ms."""
LONG_HOLD = 20 * LAST_WAIT
"""Seconds of holding the write lock after which it is left alone for `LAST_WAIT`: on a slow disk a busy one
would otherwise take it again before another, that tries from time to time, finds it free."""


class Observer(Protocol):
    """Looks at the database in the owning thread whenever it may have changed."""

    def active(self) -> bool:
        """Whether it waits for anything now."""

    def look(self, session: Session) -> None:
        """See what is new."""


class Engine:
    """Runs jobs one group after the other, and asks waiting ones again when something changed.

    Parameters:
        address: of the file; it is opened at the first job, and again when it was replaced.
        observers: asked to look after each change.
    """

    def __init__(self, address: Address, observers: list[Observer]) -> None:
        self.address = address
        self.inbox = Inbox()
        self.observers = observers
        self.turn = native.Lock()
        """Held while the connection is in use."""
        self._session: Session | None = None
        self._refused: dict[Any, None] = {}
        self._watch: Watch | None = None
        self._log: Log | None = None
        self._opened: tuple[Address, tuple[int, int] | None] | None = None
        self._waiting: list[Job] = []
        self._changed = False
        self._look_by = 0.0
        self._sleep = native.original("time", "sleep")
        self.thread = native.start(self._main, "greenq-sqlite")

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────

    def _main(self) -> None:
        while not (self.inbox.closing and not len(self.inbox) and not self._waiting):
            waits = bool(self._waiting) or (bool(self.observers) and self._waits())
            fd = self._watch.fd if waits and self._watch is not None else None
            told, jobs = self.inbox.sleep(self._pause() if waits else None, fd, GROUP)
            with self.turn:
                try:
                    waits = bool(self._waiting) or (bool(self.observers) and self._waits())
                    look = waits and self._should_look(told)
                    self._work(self._collect(look, jobs) if self._waiting else jobs, look)
                except Exception:  # a bug here must not leave every later caller waiting for its deadline
                    logger.exception(
                        "%s: the database thread goes on after an error of its own", self.address.path
                    )
        with self.turn:
            self.disconnect()
            if self._watch is not None:
                self._watch.close()

    def _waits(self) -> bool:
        """Whether an observer waits for something."""
        return any(observer.active() for observer in self.observers)

    def _pause(self) -> float:
        """How long to sleep at most while something is waited for."""
        if self._changed or self.inbox.closing:
            return 0.0
        pause = self._watch.pause() if self._watch is not None else SLOWEST
        now = time.monotonic()
        for job in self._waiting:
            pause = min(pause, job.patience - now)
        if self._session is not None and self._session.next_due is not None and self._waiting:
            pause = min(pause, self._session.next_due - time.time())
        return pause

    def _should_look(self, told: bool) -> bool:
        """Whether something that is waited for may have happened."""
        look, self._changed = self._changed, False
        session, now = self._session, time.monotonic()
        if told and self._watch is not None:
            look = self._watch.changed(0) or look
        elif self._watch is not None and self._watch.fd is None and session is not None:
            with suppress(sqlite3.Error):
                look = self._watch.changed(session.rows("PRAGMA data_version")[0][0]) or look
        if session is not None and session.next_due is not None:
            look = look or session.next_due <= time.time()
        look = look or now >= self._look_by
        if look:
            self._look_by = now + SLOWEST
        return look

    def _collect(self, look: bool, new: list[Job]) -> list[Job]:
        """Those that waited and are to be asked again, and the new ones."""
        now = time.monotonic()
        closing = self.inbox.closing
        again: list[Job] = []
        still: list[Job] = []
        for job in self._waiting:
            (again if look or closing or job.patience <= now else still).append(job)
        self._waiting = still
        return again + new

    def _work(self, jobs: list[Job], look: bool) -> None:
        if not jobs and not look:
            return
        deadline = 0.0
        writes: list[Job] = []
        worthwhile = False
        for job in jobs:
            deadline = max(deadline, job.deadline)
            if job.write:
                writes.append(job)
                worthwhile = worthwhile or job.probe is None
        deadline = deadline or time.monotonic() + SLOWEST
        try:  # nearly always it is still the same file; asked for every transaction, and so without a call
            found = os.stat(self.address.path)
            same = self._opened == (self.address, (found.st_dev, found.st_ino))
        except OSError:
            same = False
        session = self._session if same else None
        if session is None:
            try:
                session = self._open(jobs, deadline)
            except Exception as error:
                for job in jobs:
                    self._end(job, error=error)
                return
        if not worthwhile:
            worth, writes = writes, []
            for job in worth:
                if self._probe(session, job):
                    writes.append(job)
        if writes:
            self._commit(session, writes, deadline)
        for job in jobs:
            if not job.write:
                self._read(session, job, deadline)
        if session.announce:
            session.announce = False
            announce(self.address.path)
            self._changed = look = True
        if look:
            self._observe(session)
        log = self._log
        if writes and log is not None:
            log.commits += 1
            if (
                log.commits >= COMMITS
                or session.connection.total_changes >= log.enough
                or session.written >= LENGTH
            ):
                log.look(session)

    def _observe(self, session: Session) -> None:
        for observer in self.observers:
            if observer.active():
                try:
                    observer.look(session)
                except sqlite3.Error as error:
                    self._changed = is_busy(error)
                    logger.warning("%s: %s", self.address.path, explain(self.address.path, error))

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────

    def _probe(self, session: Session, job: Job) -> bool:
        """Whether a waiting job is worth a transaction; if not, it goes on waiting."""
        assert job.probe is not None
        try:
            if job.probe(session):
                return True
        except sqlite3.Error as error:
            if is_busy(error):
                return True
            self._end(job, error=explain(self.address.path, error))
            return False
        self._again(job)
        return False

    def _commit(self, session: Session, jobs: list[Job], deadline: float, relieved: bool = False) -> None:
        """Run jobs in one transaction; if that fails, each in its own, so that only the guilty one fails."""
        committing = False
        try:
            try:
                session.do("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:  # somebody else writes: with patience, then
                self._begin(session, jobs, deadline)
            since = time.monotonic()
            begun: list[Job] = []
            with self.inbox.lock:
                for job in jobs:
                    if job.stage is not Stage.DROPPED:  # else its caller has gone
                        job.stage = Stage.RUNNING
                        begun.append(job)
            jobs = begun
            values = []
            for job in jobs:
                values.append(job.fn(session))
            committing = True
            session.do("COMMIT")
            held = time.monotonic() - since
        except Exception as error:
            self._roll_back(session)
            failure = error if isinstance(error, Failure) else explain(self.address.path, error, committing)
            if isinstance(error, sqlite3.OperationalError | Late):
                session.troubled = time.monotonic()
            if not relieved and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                with suppress(sqlite3.Error):  # the log's room can be used again, if the file has some
                    session.rows("PRAGMA wal_checkpoint(RESTART)")
                self._commit(session, jobs, deadline, relieved=True)
                return
            if len(jobs) > 1 and not isinstance(failure, Late) and not failure.uncertain:
                for job in jobs:
                    self._commit(session, [job], deadline, relieved)
                return
            for job in jobs:
                self._end(job, error=failure)
            return
        ended: list[Job] = []
        for job, value in zip(jobs, values, strict=True):
            if value is AGAIN:
                self._again(job)
            else:
                job.value = value
                ended.append(job)
        for job in self.inbox.end(ended):
            self.take_back(job)
        if held > LONG_HOLD:
            self._sleep(LAST_WAIT)

    def _begin(self, session: Session, jobs: list[Job], deadline: float) -> None:
        wait = FIRST_WAIT
        locked_out = 0.0
        while True:
            try:
                session.do("BEGIN IMMEDIATE")
                if locked_out and time.monotonic() - locked_out > LONG_WAIT:
                    session.troubled = time.monotonic()
                return
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                locked_out = locked_out or time.monotonic()
                for job in self.inbox.take_reads():  # they need no lock
                    self._read(session, job, job.deadline)
                if not self._patient(jobs, deadline, wait):
                    raise Late(
                        f"{self.address.path}: another process kept its write lock too long; "
                        "nothing was changed: look for one that is suspended (`fuser FILE` names them)"
                    ) from error
                wait = min(LAST_WAIT, wait * 1.3)

    def _patient(self, jobs: list[Job], deadline: float, wait: float) -> bool:
        """Pause before another try; False if nobody waits for it any more."""
        if time.monotonic() >= deadline or (jobs and all(job.stage is Stage.DROPPED for job in jobs)):
            return False
        self._sleep(wait * random.uniform(0.5, 1.0))
        return True

    def _read(self, session: Session, job: Job, deadline: float) -> None:
        if not self.inbox.begin(job):
            return
        while True:
            try:
                self._end(job, job.fn(session))
                return
            except Exception as error:
                if not is_busy(error) or not self._patient([job], deadline, LAST_WAIT):
                    self._end(job, error=explain(self.address.path, error))
                    return

    def _again(self, job: Job) -> None:
        if time.monotonic() >= job.patience or self.inbox.closing:
            self._end(job, AGAIN)
        elif self.inbox.pause(job):
            self._waiting.append(job)

    def _end(self, job: Job, value: Any = None, error: Exception | None = None) -> None:
        job.value, job.error = value, error
        if self.inbox.end((job,)):
            self.take_back(job)

    def take_back(self, job: Job) -> None:
        """Undo what a job did for a caller that has gone."""
        if job.undo is not None and job.error is None and job.value is not AGAIN:
            undo, value = job.undo, job.value
            # refused while closing: then the lease's end gives it back
            self.inbox.put(Job(lambda session: undo(session, value), SLOWEST * 60, write=True))

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────

    def _open(self, jobs: list[Job], deadline: float) -> Session:
        """Return the session; connect if there is none, or if another file has taken the path."""
        if self._session is not None and self._opened is not None:
            address, file = self._opened
            if file != self._identity():
                logger.warning(
                    "%s was moved or deleted while in use: a new one is opened there", address.path
                )
            elif address is self.address:
                return self._session
            self.disconnect()
        address = self.address
        connection = connect(address, lambda: self._patient(jobs, deadline, LAST_WAIT))
        anew = self._opened is not None
        self._opened = address, self._identity()
        self._session = Session(connection, self._refused)
        self._session.troubled = time.monotonic() if anew else 0.0
        if self._watch is not None:
            self._watch.close()
        self._watch = watch(address.path)
        self._log = Log(address.path)
        self._changed = True
        return self._session

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.address.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def disconnect(self) -> None:
        """Close the connection; the next job opens it again."""
        if self._session is not None:
            with suppress(sqlite3.Error):
                self._session.connection.close()
            self._session = None

    def resume(self) -> None:
        """Look at once: the connection was closed for a fork."""
        self._changed = True
        self.inbox.poke()

    def abandon(self) -> None:
        """Close, in a forked child, what it inherited of its parent's."""
        self.inbox.abandon()
        if self._watch is not None:
            self._watch.close()

    def _roll_back(self, session: Session) -> None:
        with suppress(sqlite3.Error):
            if session.connection.in_transaction:
                session.execute("ROLLBACK")
        session.rolled_back()
