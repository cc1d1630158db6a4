"""Where jobs wait for the thread that owns the connection, and where that thread sleeps."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from greenq.sqlite.job import Job, Stage
from pools import native

__all__ = ["Inbox"]

READABLE = 1
"""``select.POLLIN``, which monkey-patching may have removed from its module."""


class Inbox:
    """A queue of jobs with one reader, which may wait for a further descriptor at the same time."""

    def __init__(self) -> None:
        self.closing = False
        self.lock = native.Lock()
        """Held while a job's stage changes, for a few instructions."""
        self.jobs: deque[Job] = deque()
        self.asleep = False
        """Whether the reader must be woken; changes while the lock is held, but for the reader's own part."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._read = native.original("os", "read")
        self.knock: Callable[[], object] = partial(native.original("os", "write"), self._writer, b"!")
        """Wakes the reader; never blocked, as for each of its sleeps one byte is written at most."""
        self._poll = native.original("select", "poll")

    def put(self, job: Job) -> bool:
        """Hand in a job; False if nobody will take it any more."""
        with self.lock:
            if self.closing:
                return False
            self.jobs.append(job)
            if self.asleep:
                self.ring()
        return True

    def close(self) -> None:
        """Take no more jobs; those that are in will be done."""
        with self.lock:
            self.closing = True
            self.ring()

    def poke(self) -> None:
        """Wake the reader if it sleeps."""
        with self.lock:
            self.ring()

    def ring(self) -> None:
        """Wake the reader if it sleeps; the lock is held."""
        if self.asleep and self._writer >= 0:
            self.asleep = False
            self.knock()

    def __len__(self) -> int:
        return len(self.jobs)

    def take_reads(self) -> list[Job]:
        """Those of the waiting jobs that write nothing."""
        with self.lock:
            reads = [job for job in self.jobs if not job.write]
            if reads:
                self.jobs = deque(job for job in self.jobs if job.write)
        return reads

    def sleep(self, pause: float | None, fd: int | None, most: int) -> tuple[bool, list[Job]]:
        """Wait until there is a job, `pause` seconds have passed or `fd` is readable.

        Returns:
            Whether it was the last; and up to `most` jobs, oldest first.
        """
        poll = self._poll()
        poll.register(self._reader, READABLE)
        if fd is not None:
            poll.register(fd, READABLE)
        self.asleep = True
        if self.jobs or self.closing:  # put before it could see that this thread sleeps
            pause = 0.0
        ready = poll.poll(None if pause is None else max(0.0, pause) * 1000)
        self.asleep = False
        told = False
        for number, _ in ready:
            if number != self._reader:
                told = True
                continue
            try:
                self._read(self._reader, 4096)
            except BlockingIOError:
                continue
        with self.lock:
            waiting = self.jobs
            if len(waiting) <= most:
                jobs = list(waiting)
                waiting.clear()
            else:
                jobs = [waiting.popleft() for _ in range(most)]
        return told, jobs

    # ── the life of one job ──────────────────────────────────────────────────────────────────────────────

    def begin(self, job: Job) -> bool:
        """The reader starts on it; False if its caller has gone."""
        with self.lock:
            if job.stage is Stage.DROPPED:
                return False
            job.stage = Stage.RUNNING
            return True

    def pause(self, job: Job) -> bool:
        """There was nothing for it yet; False if its caller has gone."""
        with self.lock:
            if job.stage is Stage.DROPPED:
                return False
            job.stage = Stage.WAITING
            return True

    def end(self, jobs: Sequence[Job]) -> list[Job]:
        """Their values or errors are there; those whose callers have gone."""
        gone = []
        with self.lock:
            for job in jobs:
                if job.stage is Stage.DROPPED:
                    gone.append(job)
                else:
                    job.stage = Stage.DONE
        for job in jobs:
            if job.bell is not None:
                job.bell.ring()
        return gone

    def drop(self, job: Job) -> Stage:
        """The caller goes; how far the job had come."""
        with self.lock:
            stage = job.stage
            if stage is not Stage.DONE:
                job.stage = Stage.DROPPED
            return stage

    def dispose(self) -> None:
        """Close the descriptors: nobody reads any more."""
        with self.lock:
            os.close(self._reader)
            os.close(self._writer)
            self._reader = self._writer = -1

    def abandon(self) -> None:
        """The same in a forked child, where a thread that stayed behind may hold the lock for ever."""
        self.lock = native.Lock()
        self.dispose()
