"""One connection for many callers: what comes while a round trip is under way goes with the next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from greenq.redis.address import Address
from greenq.redis.failures import TEMPORARY, Closed, Failure, Late, Unreachable
from greenq.redis.link import LONG_IDLE, Link
from greenq.redis.opening import open_link
from greenq.redis.resp import ReplyError, pack_all, pack_one
from pools import native

__all__ = ["ELSEWHERE", "PAUSE_FIRST", "PAUSE_MOST", "Lane"]

PAUSE_FIRST, PAUSE_MOST = 0.02, 0.5
"""Seconds between attempts to connect again: doubled each time, up to the most."""

ELSEWHERE = ("READONLY", "MOVED", "ASK")
"""Errors of a server that does not have our keys any more, or is about to give them away."""
ABANDONED_AFTER = 5.0
"""Seconds after its deadline that a turn is over even if nobody ended it."""


class Job:
    """The commands of one caller that waits for its turn."""

    __slots__ = ("count", "data", "deadline", "error", "replies", "signal", "turn")

    def __init__(self, data: bytes, count: int, deadline: float) -> None:
        self.data = data
        self.count = count
        self.deadline = deadline
        self.signal = native.Signal()
        self.turn = 0
        self.replies: list[Any] | None = None
        self.error: Failure | None = None


class Lane:
    """A connection that the callers of one world share.

    The first caller makes the round trip itself; those that come meanwhile wait, and the first of them then
    makes one round trip for all.

    Parameters:
        lost: told of each connection that was lost, so that nobody is declared dead too early.
    """

    def __init__(self, address: Address, lost: Callable[[], None]) -> None:
        self._address = address
        self._lost = lost
        self._lock = native.Lock()
        self._turn = 0
        """Whose the connection is now; 0 if nobody's."""
        self._turns = 0
        self._until = 0.0
        self._queue: deque[Job] = deque()
        self._link: Link | None = None
        self._connected = False
        self.closed = False

    def run(self, commands: Sequence[Sequence[Any]], deadline: float) -> list[Any]:
        """Carry out commands in one round trip.

        Returns:
            Their replies, with `ReplyError` where the server answered with one.

        Raises:
            Failure: `uncertain` says whether they may have been carried out.
        """
        data = pack_one(tuple(commands[0])) if len(commands) == 1 else pack_all(commands)
        job = None
        with self._lock:
            if self.closed:
                raise Closed("it was closed: make another one")
            if self._turn and time.monotonic() < self._until:
                job = Job(data, len(commands), deadline)
                self._queue.append(job)
            elif self._turn:
                turn = self._take_turn(deadline)
            else:  # the same for nearly every round trip, without a call
                self._turns = self._turn = turn = self._turns + 1
                self._until = deadline + ABANDONED_AFTER
        if job is not None:
            return self._follow(job)
        try:
            return self._exchange(data, len(commands), deadline)
        finally:
            with self._lock:
                alone = turn == self._turn and not self._queue
                if alone:
                    self._turn = 0
            if not alone:
                self._hand_over(turn)

    def _take_turn(self, deadline: float) -> int:
        """Begin a turn; the lock is held. One that a killed thread never ended is over some time later."""
        if self._turn:
            self._drop(self._link)
        self._turns += 1
        self._turn, self._until = self._turns, deadline + ABANDONED_AFTER
        return self._turn

    def _follow(self, job: Job) -> list[Any]:
        try:
            job.signal.wait(max(0.0, job.deadline - time.monotonic()))
        except BaseException:
            self._leave(job)
            raise
        if not job.signal.is_set:
            self._leave(job)
        elif job.turn:
            self._lead(job)
        if job.error is not None:
            raise job.error
        assert job.replies is not None
        return job.replies

    def _leave(self, job: Job) -> None:
        """Give up waiting: nothing was sent if the job still stands in the queue, or was to lead."""
        with self._lock:
            waiting = job in self._queue
            if waiting:
                self._queue.remove(job)
            turn = job.turn
            if job.replies is None and job.error is None:
                job.error = Late("it did not answer in time", not waiting and not turn)
        if turn:
            self._hand_over(turn)

    def _lead(self, job: Job) -> None:
        """Make one round trip for everybody who waits."""
        with self._lock:
            batch = [job, *self._queue]
            self._queue.clear()
        try:
            deadline = max(one.deadline for one in batch)
            self._until = deadline + ABANDONED_AFTER
            data, count = b"".join([one.data for one in batch]), sum(one.count for one in batch)
            replies = self._exchange(data, count, deadline)
            at = 0
            for one in batch:
                one.replies = replies[at : at + one.count]
                at += one.count
        except Failure as error:
            for one in batch:
                one.error = error
        except BaseException:
            for one in batch:
                one.error = Unreachable("the call that carried this one was interrupted", True)
            raise
        finally:
            for one in batch[1:]:
                one.signal.set()
            self._hand_over(job.turn)

    def _hand_over(self, turn: int) -> None:
        """End a turn: the next one who waits has it."""
        following = None
        with self._lock:
            if turn != self._turn:
                return  # it took so long that somebody else took over
            self._turn = 0
            if self._queue:
                following = self._queue.popleft()
                following.turn = self._take_turn(following.deadline)
        if following is not None:
            following.signal.set()

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────

    def _exchange(self, data: bytes, count: int, deadline: float) -> list[Any]:
        link = self._link
        # Not even its process needs a look if it was used just now: a fork makes the client begin anew.
        if link is None or (time.monotonic() - link.used >= LONG_IDLE and link.stale):
            link = self._open(deadline)
        try:
            replies = link.exchange(data, count, deadline)
        except BaseException:
            self._drop(link)
            raise
        if type(replies[0]) is ReplyError and str(replies[0]).startswith(ELSEWHERE):
            # It became a replica, or gave our keys away: who has them now is found by connecting again.
            self._drop(link)
        return replies

    def _open(self, deadline: float) -> Link:
        """Connect; again and again until the deadline if there was a connection before."""
        self._drop(self._link)
        pause = PAUSE_FIRST
        while True:
            try:
                link = self._link = open_link(self._address, deadline)
                break
            except Failure as error:
                brief = isinstance(error, Unreachable) or getattr(error, "code", "") in TEMPORARY
                if not (brief and self._connected) or time.monotonic() + pause >= deadline or self.closed:
                    error.uncertain = False
                    raise
            native.Signal().wait(pause)
            pause = min(pause * 2, PAUSE_MOST)
        self._connected = True
        return link

    def _drop(self, link: Link | None) -> None:
        if link is not None:
            if self._link is link:
                self._link = None
            link.close()
            self._lost()

    def close(self) -> None:
        """End the connection; whoever uses it gets an error."""
        self.closed = True
        link = self._link
        if link is not None:
            link.interrupt()
            link.close()
