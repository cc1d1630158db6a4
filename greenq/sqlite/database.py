"""The embedded database of this process, shared by its brokers and result stores.

SQLite's locks belong to a process, and its library keeps one record of them per file: a forked child would
believe that it holds its parent's. So the file is closed before each fork, and opened again by the next
call on either side.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from greenq.sqlite.address import Address, parse
from greenq.sqlite.engine import Engine, Observer
from greenq.sqlite.failures import Failure, Late, Unreachable
from greenq.sqlite.job import Job, Stage
from greenq.sqlite.session import Session
from pools import native
from pools.bell import Bell

__all__ = ["Database", "share"]

PATIENCE = 10.0
"""How long a fork or a close waits for a running transaction, in seconds."""


class Database:
    """One file, and the thread that works on it; made by `share`.

    Parameters:
        address: where it is.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.users = 1
        self._engine: Engine | None = None
        self._lock = native.Lock()
        self._observers: list[Observer] = []
        self._bells: list[Bell] = []
        """Of calls that have ended, for the next ones."""
        self._stranded = False
        self._closed = False

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, fn: Callable[[Session], Any], timeout: float) -> Any:
        """Run `fn` in the owning thread and return what it returns.

        Parameters:
            timeout: seconds.

        Raises:
            Late, Unreachable, Failure: as they say.
            ConfigError: the file is not greenq's.
        """
        return self.run(Job(fn, timeout, write=False))

    def write(self, fn: Callable[[Session], Any], timeout: float) -> Any:
        """Run `fn` in a write transaction and return what it returned, once it is committed."""
        return self.run(Job(fn, timeout, write=True))

    def run(self, job: Job) -> Any:
        """Hand in a job and wait for its end; `AGAIN` if it found nothing in all its patience."""
        engine = self._engine or self._started()  # one that is closed meanwhile takes no job
        try:
            bell = self._bells.pop()
        except IndexError:
            bell = Bell()
        job.bell = bell
        inbox = engine.inbox
        with inbox.lock:  # as `Inbox.put` does, for every job and so without a call
            if inbox.closing:
                raise Failure(f"{self.address.path} is closed: open it again")
            inbox.jobs.append(job)
            if inbox.asleep:
                inbox.asleep = False
                inbox.knock()
        try:
            rung = bell.wait(job.deadline - time.monotonic())
        except BaseException:
            if engine.inbox.drop(job) is Stage.DONE:
                engine.take_back(job)
            raise
        if rung:
            self._bells.append(bell)
        elif (stage := engine.inbox.drop(job)) is not Stage.DONE:
            begun = stage is Stage.RUNNING and job.write
            raise Late(
                f"{self.address.path} did not answer in time, "
                + ("the change may have been made" if begun else "nothing was changed")
                + ": the disk is slow, or another process keeps its lock",
                uncertain=begun,
            )
        if job.error is not None:
            raise job.error
        return job.value

    def hurry(self, job: Job) -> None:
        """Have a waiting job answered now, with what there is."""
        job.patience = 0.0
        with self._lock:
            engine = self._engine
        if engine is not None:
            engine.inbox.poke()

    def observe(self, observer: Observer) -> None:
        """Let it look at every change from now on."""
        self._observers.append(observer)

    def ignore(self, observer: Observer) -> None:
        """Undo `observe`."""
        with suppress(ValueError):
            self._observers.remove(observer)

    def be_safer(self, address: Address) -> None:
        """Use the file as this address says from the next transaction on."""
        with self._lock:
            self.address = address
            if self._engine is not None:
                self._engine.address = address

    def _started(self) -> Engine:
        if self._stranded:
            raise Unreachable(
                f"{self.address.path}: this process was forked during a transaction that did not end: "
                "fork before the application is used, or start processes by exec"
            )
        with self._lock:
            if self._closed:
                raise Failure(f"{self.address.path} is closed: open it again")
            if self._engine is None:
                self._engine = Engine(self.address, self._observers)
            return self._engine

    # ── the end, and forks ───────────────────────────────────────────────────────────────────────────────

    def release(self) -> None:
        """One user less; the last one finishes what was handed in and closes the file."""
        with _lock:
            self.users -= 1
            if self.users > 0:
                return
            if _shared.get(self.address.path) is self:
                del _shared[self.address.path]
        with self._lock:
            self._closed = True
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.inbox.close()
            if engine.thread.join(PATIENCE):
                engine.inbox.dispose()

    def before_fork(self) -> None:
        """Close the file, and keep it closed."""
        self._lock.acquire()
        self._stranded = self._engine is not None and not self._engine.turn.acquire(timeout=PATIENCE)
        if self._engine is not None and not self._stranded:
            self._engine.disconnect()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._engine is not None and not self._stranded:
            self._engine.turn.release()
            self._engine.resume()
        self._stranded = False
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Start over: the thread has stayed behind, and so has everyone who waited."""
        self._lock = native.Lock()
        self._bells = []
        self._observers = []
        if self._engine is not None and not self._stranded:
            self._engine.abandon()
        self._engine = None


_shared: dict[str, Database] = {}
_lock = native.Lock()


def share(url: str) -> Database:
    """Return this process's database at that address; each call needs one `Database.release`.

    Where several addresses of one file differ in `synchronous`, the safer one holds for all.

    Raises:
        ConfigError: the address has a mistake.
    """
    address = parse(url)
    with _lock:
        database = _shared.get(address.path)
        if database is None:
            database = _shared[address.path] = Database(address)
            return database
        database.users += 1
    if address.full and not database.address.full:
        database.be_safer(address)
    return database


_forking: list[Database] = []


def _before_fork() -> None:
    _lock.acquire()
    _forking[:] = _shared.values()
    for database in _forking:
        database.before_fork()


def _after_fork_in_parent() -> None:
    for database in _forking:
        database.after_fork_in_parent()
    _forking.clear()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = native.Lock()
    for database in _forking:
        database.after_fork_in_child()
    _forking.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
