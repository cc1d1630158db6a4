"""Take messages: asked for in exact numbers, and pushed one by one while there are none.

``basic.get`` takes what is asked for and nothing more; asked many times in one go it costs one round trip.
Where a queue is empty a consumer waits that may hold one message: the server pushes, nobody polls. It is
cancelled when its message comes, or when there is no room for what it could bring.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from struct import unpack_from
from typing import NamedTuple

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.failures import Failure, Refused
from greenq.amqp.held import Ledger
from greenq.amqp.line import Line, Session
from greenq.amqp.topology import Topology
from greenq.errors import BrokerError
from pools import native
from pools.bell import Bell

__all__ = ["Found", "Inbox"]

MOST = 1000
"""Messages that are asked for in one go."""


class Found(NamedTuple):
    """One message as it came."""

    session: int
    tag: int
    queue: str
    redelivered: bool
    header: bytes
    body: bytes


_found = partial(tuple.__new__, Found)
"""Makes one without a call of Python code, which its own constructor is."""


class Inbox:
    """Takes messages over a connection of its own.

    Parameters:
        timeout: seconds that one answer may take.
    """

    def __init__(self, address: Address, topology: Topology, ledger: Ledger, timeout: float) -> None:
        self.line = Line(address, "consume", (methods.qos(1, 1), 1), self._prepare)
        self._topology = topology
        self._ledger = ledger
        self._timeout = timeout
        self._lock = native.Lock()
        self._number = 0
        self._names = itertools.count(1)
        self.pushed: dict[str, deque[Found]] = {}
        """By queue, what was pushed and not taken yet."""
        self._consumers: dict[str, str] = {}
        """By queue, the consumer that waits there."""
        self._queues: dict[str, str] = {}
        """The same the other way round, also for consumers that were cancelled and may still bring one."""
        self._left: dict[str, int] = {}
        """By queue, how many messages the last answer saw there."""
        self._gets: dict[str, bytes] = {}
        """By queue, the frame that asks for one message."""
        self._waiting: list[Bell] = []
        self._bells: list[Bell] = []
        """Of those that waited before."""
        self._woken = False
        self._resting = False
        self._full = False

    # ── taking ───────────────────────────────────────────────────────────────────────────────────────────

    def take(self, queues: Sequence[str], n: int, deadline: float) -> list[Found]:
        """Up to `n` messages, the first queue's first; waits until there is one, the deadline, or `wake`.

        Raises:
            Failure: the connection was lost.
            BrokerError: a queue cannot be used.
        """
        self._resting = self._full = False
        while True:
            answer_by = time.monotonic() + self._timeout
            session = self.line.latest
            if (
                session is None or not session.connection.is_open
                or session.connection.lost is not None or session.channel.lost is not None
            ):  # fmt: skip
                session = self.line.session(answer_by)
            if not session.declared.issuperset(queues):
                self._ensure(session, queues, answer_by)
            try:
                bell = self._bells.pop()
            except IndexError:
                bell = Bell()
            with self._lock:
                self._waiting.append(bell)
            try:
                found = self._collect(session, queues, n)
                if found:
                    self._full = len(found) >= n
                    if len(self._consumers) > n - len(found):
                        # Let nothing more be pushed than can be started.
                        self._unsubscribe(session)
                    return found
                if self._woken or time.monotonic() >= deadline:
                    self._woken = False
                    return []
                self._subscribe(session, queues)
                bell.wait(deadline - time.monotonic())
            finally:
                with self._lock:
                    self._waiting.remove(bell)
                # It may have been rung and not heard: the next one then looks once more than it need.
                self._bells.append(bell)
            error = session.lost
            if error is not None:
                raise error.again()

    def _ensure(self, session: Session, queues: Sequence[str], deadline: float) -> None:
        for queue, problem in self._topology.ensure(session, queues, deadline).items():
            raise BrokerError(f"the queue {queue!r:.80} cannot be used: {problem}")

    def _collect(self, session: Session, queues: Sequence[str], n: int) -> list[Found]:
        found: list[Found] = []
        for queue in queues:
            pushed = self.pushed.get(queue)
            while pushed and len(found) < n:
                one = pushed.popleft()
                if one.session == session.number:
                    found.append(one)
            if queue in self._consumers:
                continue
            frame = self._gets.get(queue)
            if frame is None:
                frame = self._gets[queue] = methods.get(1, queue)
            # Asked as often as it is known to have messages.
            left = self._left.get(queue, 0) or 1
            while left and len(found) < n:
                count = min(n - len(found), left, MOST)
                answers = session.call(frame * count, count, time.monotonic() + self._timeout)
                for method, payload, header, body in answers:
                    if method == methods.GET_OK:
                        tag, redelivered = unpack_from(">QB", payload, 4)
                        found.append(_found((session.number, tag, queue, bool(redelivered), header, body)))
                last = answers[-1]
                left = unpack_from(">I", last[1], len(last[1]) - 4)[0] if last[0] == methods.GET_OK else 0
                self._left[queue] = left
        return found

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────

    def _subscribe(self, session: Session, queues: Sequence[str]) -> None:
        """Let the server push, at most one message from each queue."""
        frames = []
        with self._lock:
            if session.number != self._number:
                return  # somebody else has begun a new one, where nothing waits yet
            # Those cancelled before bring nothing any more; if one does, it goes back.
            self._queues = {tag: queue for queue, tag in self._consumers.items()}
            for queue in queues:
                if queue not in self._consumers:
                    tag = f"greenq-{next(self._names)}"
                    self._consumers[queue] = tag
                    self._queues[tag] = queue
                    # Unanswered: a charge may ask on this channel too, and would be given our answer.
                    frames.append(methods.consume(1, queue, tag, answered=False))
        if frames:
            session.connection.send(session.channel, b"".join(frames))

    def _unsubscribe(self, session: Session) -> None:
        with self._lock:
            frames = [methods.cancel(1, tag) for tag in self._consumers.values()]
            self._consumers.clear()
        if frames:
            try:
                session.connection.send(session.channel, b"".join(frames))
            except Failure:
                return  # gone with the connection

    def wake(self) -> None:
        """Let a waiting `take` return now, or the next one that would wait."""
        self._woken = True
        self._tell()

    def rest(self) -> list[Found]:
        """Let nothing be pushed until the next `take`; what was, to be given back."""
        self._resting = True
        session = self.line.alive
        if session is not None:
            self._unsubscribe(session)
        return self.overflow()

    def overflow(self) -> list[Found]:
        """Hand over what was pushed and nobody has room for."""
        session = self.line.alive
        with self._lock:
            pushed = [one for queue in self.pushed.values() for one in queue]
            self.pushed.clear()
        return [one for one in pushed if session is not None and one.session == session.number]

    def surplus(self) -> dict[str, int]:
        """How many messages were pushed that nobody has taken yet, by queue."""
        with self._lock:
            return {queue: len(pushed) for queue, pushed in self.pushed.items() if pushed}

    def _tell(self) -> None:
        with self._lock:
            for bell in self._waiting:
                bell.ring()

    # ── in the connection's thread ───────────────────────────────────────────────────────────────────────

    def _prepare(self, session: Session) -> None:
        with self._lock:
            self._number = session.number
            self.pushed.clear()
            self._consumers.clear()
            self._queues.clear()
            self._left.clear()
        self._ledger.begin(session.number)
        channel = session.channel
        channel.on_deliver = partial(self._delivered, session)
        # Noted in the order of the tags, before anybody can acknowledge all up to a later one.
        channel.on_got = partial(self._ledger.arrived, session.number)
        channel.on_cancel = partial(self._cancelled, session)
        channel.on_lost = partial(self._lost, session)
        channel.expects = lambda: self._waiting

    def _delivered(self, session: Session, payload: bytes, header: bytes, body: bytes) -> None:
        tag, at = methods.read_short(payload, 4)
        number, redelivered = unpack_from(">QB", payload, at)
        # Noted also if it goes back: an acknowledgement of all up to a later tag must not meet it.
        self._ledger.arrived(session.number, number)
        with self._lock:
            queue = self._queues.pop(tag, None)
            spent = queue is not None and self._consumers.get(queue) == tag
            if queue is not None and spent:
                del self._consumers[queue]
            # It was on its way when its consumer was cancelled, and nobody has room for it.
            unwanted = queue is None or self._resting or (self._full and not self._waiting)
            if queue is not None and not unwanted:
                found = Found(session.number, number, queue, bool(redelivered), header, body)
                self.pushed.setdefault(queue, deque()).append(found)
                self._left[queue] = max(1, self._left.get(queue, 0))
        if spent:
            session.connection.send(session.channel, methods.cancel(1, tag))
        if unwanted:
            with self._ledger.lock:
                self._ledger.forget((number,))
                session.connection.send(session.channel, methods.nack(1, number))
        self._tell()

    def _cancelled(self, session: Session, tag: str) -> None:
        """The server ended a consumer, as its queue was deleted: it is declared again."""
        with self._lock:
            queue = self._queues.pop(tag, None)
            if queue is not None and session.number == self._number:
                self._consumers.pop(queue, None)
                session.declared.discard(queue)
        self._tell()

    def _lost(self, session: Session, error: Failure) -> None:
        if isinstance(error, Refused) and error.code == 404:
            session.declared.clear()
        self._tell()
