"""What the server pushes: into free slots where there are many, else one by one where there is nothing yet.

A consumer that stays may have as many deliveries out as there are slots: ``basic.qos`` bounds what it brought
and nobody has acknowledged, and what runs is not acknowledged. So there is a slot for each that it can still
bring, and the server need not be asked for every message, which costs it more than pushing them.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct
from typing import NamedTuple

from greenq.amqp import methods
from greenq.amqp.failures import Failure
from greenq.amqp.held import Ledger
from greenq.amqp.line import Session
from pools import native
from pools.bell import Bell

__all__ = ["Found", "Pushes", "new_found"]

MOST = 65_535
"""Deliveries that the server lets one consumer have out."""
NEGLECTED = 0.5
"""Seconds after which what nobody has taken is to be left to others."""
REMEMBERED = 8
"""Consumers that were cancelled and may still bring what was on its way."""


class Found(NamedTuple):
    """One message as it came."""

    session: int
    tag: int
    queue: str
    redelivered: bool
    header: bytes
    body: bytes


new_found = partial(tuple.__new__, Found)
"""Makes one without a call of Python code, which its own constructor is."""
_end_of_deliver = Struct(">QB").unpack_from


class Pushes:
    """The consumers of a session, and what they brought.

    Parameters:
        tell: called when something has come and there are `listeners`; must not wait.
        has_room: whether there is room for what a passing consumer brings though nobody listens.

    Attributes:
        brought: by queue, what has come and nobody has taken yet.
        passing: by the server's queue, the consumer that waits there for one message.
        quota: how many deliveries those that stay may have out together.
        rests: whether nobody is to wait for more.
        refuses: whether everything goes back that comes from consumers that were cancelled.
        listeners: those who wait for something to come.
    """

    def __init__(self, ledger: Ledger, tell: Callable[[], None], has_room: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._tell = tell
        self._has_room = has_room
        self._lock = native.Lock()
        self._names = itertools.count(1)
        self._number = 0
        self._queues: dict[str, str] = {}
        """By consumer what to call its queue; also those that are cancelled and may still bring something."""
        self._staying: list[str] = []
        self._former: deque[str] = deque(maxlen=REMEMBERED)
        self._seen: set[int] = set()
        self._looked = 0.0
        self.brought: dict[str, deque[Found]] = {}
        self.passing: dict[str, str] = {}
        self.quota = 0
        self.rests = self.refuses = False
        self.listeners: list[Bell] = []

    def begin(self, number: int) -> None:
        """A new session has begun."""
        with self._lock:
            self._number = number
            self.brought.clear()
            self.passing.clear()
            self._queues.clear()
            self._staying.clear()
            self._seen.clear()
            self.quota = 0

    # ── asking for it ────────────────────────────────────────────────────────────────────────────────────

    def wait_at(self, session: Session, sources: Mapping[str, str]) -> None:
        """Let the server push one message from each queue that has no such consumer.

        Parameters:
            sources: what to call what each brings.

        Raises:
            Failure: the connection was lost.
        """
        frames = []
        with self._lock:
            if self.rests or session.number != self._number:
                return  # somebody else has begun a new one, where nothing waits yet
            # Passing ones that were cancelled before bring nothing any more; if one does, it goes back.
            live = {*self.passing.values(), *self._staying, *self._former}
            self._queues = {tag: queue for tag, queue in self._queues.items() if tag in live}
            for source, queue in sources.items():
                if source not in self.passing:
                    tag = self.passing[source] = f"greenq-{next(self._names)}"
                    self._queues[tag] = queue
                    # Unanswered: a charge may ask on this channel too, and would be given our answer.
                    frames.append(methods.consume(1, source, tag, answered=False))
        if frames:
            session.connection.send(session.channel, b"".join(frames))

    def stay_at(self, session: Session, queue: str, more: int) -> None:
        """Let the server push whenever there is something, `more` deliveries than before at once.

        Raises:
            Failure: the connection was lost.
        """
        more = min(more, MOST)
        with self._lock:
            if self.rests or session.number != self._number:
                return
            tag = f"greenq-{next(self._names)}"
            self._queues[tag] = queue
            self._staying.append(tag)
            self.quota += more
            waits = self.passing.pop(queue, None)
        self._ledger.tell_apart()
        frames = [methods.cancel(1, waits)] if waits is not None else []
        # The bound is that of consumers made after it; those that pass may bring one.
        frames += [methods.qos(1, more), methods.consume(1, queue, tag, answered=False), methods.qos(1, 1)]
        session.connection.send(session.channel, b"".join(frames), 2)

    def leave(self, session: Session) -> None:
        """Let those that stay bring nothing more; what is on its way is still taken."""
        with self._lock:
            tags, self._staying = self._staying, []
            self._former.extend(tags)
            self.quota = 0
        self._ledger.tell_together()
        self._cancel(session, tags)

    def wait_no_more(self, session: Session) -> None:
        """Let those that pass bring nothing."""
        with self._lock:
            tags = list(self.passing.values())
            self.passing.clear()
        self._cancel(session, tags)

    def _cancel(self, session: Session, tags: list[str]) -> None:
        if tags:
            try:
                session.connection.send(session.channel, b"".join([methods.cancel(1, tag) for tag in tags]))
            except Failure:
                return  # gone with the connection

    def on_its_way(self) -> int:
        """How many messages those that stay may still bring before anything is acknowledged."""
        return max(0, self.quota - self._ledger.counted()[0]) if self.quota else 0

    # ── what came ────────────────────────────────────────────────────────────────────────────────────────

    def take(self, number: int, queue: str, most: int) -> list[Found]:
        """Hand over what came first, of this session."""
        found: list[Found] = []
        with self._lock:
            brought = self.brought.get(queue)
            while brought and len(found) < most:
                one = brought.popleft()
                if one.session == number:
                    found.append(one)
        return found

    def overflow(self) -> list[Found]:
        """Hand over all that has come."""
        with self._lock:
            found = [one for queue in self.brought.values() for one in queue]
            self.brought.clear()
        return found

    def counts(self) -> dict[str, int]:
        """How many messages nobody has taken yet, by queue."""
        with self._lock:
            return {queue: len(brought) for queue, brought in self.brought.items() if brought}

    def neglected(self) -> bool:
        """Whether what came first is still what it was a look, and half a second, ago: nobody takes it."""
        now = time.monotonic()
        if now - self._looked < NEGLECTED:
            return False  # a connection with much to do looks more often
        self._looked = now
        with self._lock:
            first = {brought[0].tag for brought in self.brought.values() if brought}
            same, self._seen = bool(first & self._seen), first
        return same

    # ── in the connection's thread ───────────────────────────────────────────────────────────────────────

    def delivered(self, session: Session, payload: bytes, header: bytes, body: bytes) -> None:
        """Take in one message."""
        at = 5 + payload[4]
        tag = payload[5:at].decode()  # as `methods.read_short` does, for each message and so without a call
        number, redelivered = _end_of_deliver(payload, at)
        passes = False
        with self._lock:
            queue = self._queues.get(tag)
            stays = tag in self._staying
            # Noted also if it goes back: an acknowledgement of all up to a later tag must not meet it.
            self._ledger.arrived(session.number, number, stays)
            unwanted = queue is None
            if not stays:
                passes = tag in self.passing.values()
                unwanted = unwanted or (self.refuses and not passes)
                if passes:
                    self.passing = {source: other for source, other in self.passing.items() if other != tag}
                # It was on its way when its consumer was cancelled, and nobody has room for it.
                unwanted = unwanted or not (tag in self._former or self.listeners or self._has_room())
            if queue is not None and not unwanted:
                found = new_found((session.number, number, queue, bool(redelivered), header, body))
                try:
                    self.brought[queue].append(found)
                except KeyError:
                    self.brought[queue] = deque((found,))
        if passes:
            session.connection.send(session.channel, methods.cancel(1, tag))
        if unwanted:
            with self._ledger.lock:
                self._ledger.forget((number,))
                session.connection.send(session.channel, methods.nack(1, number))
        if self.listeners:
            self._tell()

    def cancelled(self, session: Session, tag: str) -> str | None:
        """The server ended a consumer, as its queue was deleted; which queue that was."""
        with self._lock:
            queue = self._queues.pop(tag, None)
            if queue is None or session.number != self._number:
                return None
            self.passing = {source: other for source, other in self.passing.items() if other != tag}
            gone = tag in self._staying
            if gone:
                self._staying.clear()
                self.quota = 0
        if gone:
            self._ledger.tell_together()
        return queue
