"""Take messages: pushed into free slots where there are many, asked for in exact numbers where there are few.

``basic.get`` takes what is asked for and nothing more; asked many times in one go it costs one round trip.
Where a queue is empty a consumer waits that may hold one message: the server pushes, nobody polls. It is
cancelled when its message comes, or when there is no room for what it could bring. Where one queue is served
with many slots a consumer stays; see `greenq.amqp.pushing`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from struct import unpack_from

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.failures import Failure, Refused
from greenq.amqp.held import Ledger
from greenq.amqp.line import Line, Session
from greenq.amqp.pushing import Found, Pushes, new_found
from greenq.amqp.topology import Topology, returned_name, trial_name
from greenq.errors import BrokerError
from pools import native
from pools.bell import Bell

__all__ = ["Inbox"]

MOST = 1000
"""Messages that are asked for in one go."""
PUSH_FROM = 100
"""Slots from which on the server pushes: fewer wait for a round trip each time that all are settled."""
STEP = 8
"""The part of the slots, one of so many, from which on another consumer is made for those that have none."""
LOOK = 0.1
"""Seconds between looks for suspects that return apart, while there is other work."""
STUCK = 0.25
"""Seconds without a push after which it is asked, if there are free slots that the server can't know of."""
CALM = 5.0
"""Seconds for which nothing is pushed after what was pushed has waited for a slot."""
LAST = 1.0
"""Seconds that the server may take to say that nothing more is on its way."""


class Inbox:
    """Takes messages over a connection of its own.

    Parameters:
        timeout: seconds that one answer may take.

    Attributes:
        slots: see `Broker.slots`.
        pushes: what the server brings without being asked.
        on_neglected: called in a native thread if nobody takes what was pushed: it is to be left to others.
    """

    def __init__(self, address: Address, topology: Topology, ledger: Ledger, timeout: float) -> None:
        self.line = Line(address, "consume", (methods.qos(1, 1), 1), self._prepare)
        self._topology = topology
        self._ledger = ledger
        self._timeout = timeout
        self._lock = native.Lock()
        self.slots = 0
        self.pushes = Pushes(ledger, self._tell, lambda: not self._full)
        self._waiting = self.pushes.listeners
        """Whose `take` waits now."""
        self.on_neglected: Callable[[], None] = lambda: None
        self._leaving = False
        self._ensured: set[str] = set()
        """Queues that are there, and where their suspects return to if they return apart."""
        self._mains: dict[str, str] = {}
        """By where suspects return to, the queue that they belong to."""
        self._look_at = 0.0
        self._calm_until = 0.0
        self._left: dict[str, int] = {}
        """By the server's queue, how many messages the last answer saw there."""
        self._gets: dict[str, bytes] = {}
        """By the server's queue, the frame that asks for one message."""
        self._bells: list[Bell] = []
        """Of those that waited before."""
        self._woken = False
        self._full = False

    # ── taking ───────────────────────────────────────────────────────────────────────────────────────────

    def take(self, queues: Sequence[str], n: int, deadline: float) -> list[Found]:
        """Up to `n` messages, the first queue's first; waits until there is one, the deadline, or `wake`.

        Raises:
            Failure: the connection was lost.
            BrokerError: a queue cannot be used.
        """
        pushes = self.pushes
        self._full = pushes.rests = pushes.refuses = False
        unfilled = 0
        while True:
            answer_by = time.monotonic() + self._timeout
            session = self.line.latest
            if (
                session is None or not session.connection.is_open
                or session.connection.lost is not None or session.channel.lost is not None
            ):  # fmt: skip
                session = self.line.session(answer_by)
            if not self._ensured.issuperset(queues):
                self._ensure(session, queues, answer_by)
            try:
                bell = self._bells.pop()
            except IndexError:
                bell = Bell()
            with self._lock:
                self._waiting.append(bell)
            try:
                found = self._collect(session, queues, n, unfilled)
                if found:
                    self._full = len(found) >= n
                    if len(pushes.passing) > n - len(found):
                        # Let nothing more be pushed than can be started.
                        pushes.wait_no_more(session)
                    return found
                if self._woken or time.monotonic() >= deadline:
                    self._woken = False
                    return []
                unfilled = self._wait(session, queues, n, bell, deadline)
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
        for queue in queues:
            self._mains.pop(returned_name(queue), None)
            if self._topology.returns_apart(queue):
                # Where we may not make it nobody else charges deaths either, and nothing returns.
                with suppress(Refused):
                    self._topology.ensure_trial(session, queue, deadline)
                    self._mains[returned_name(queue)] = queue
            self._ensured.add(queue)

    def _collect(self, session: Session, queues: Sequence[str], n: int, unfilled: int) -> list[Found]:
        """What has come, and what there is to ask for; `unfilled` slots the server would not push into."""
        pushes, found, sources = self.pushes, list[Found](), queues
        now = time.monotonic()
        if self._mains and now >= self._look_at:
            self._look_at = now + LOOK
            sources = [*self._returns(queues), *queues]
        if len(queues) == 1 and self.slots >= PUSH_FROM and now >= self._calm_until:
            if pushes.quota != self.slots:
                self._let_push(session, queues[0], n)
        elif pushes.quota:
            pushes.leave(session)
        for source in sources:
            queue, most = self._mains.get(source), n
            if queue is None:
                queue = source
                if pushes.brought.get(queue):
                    found += pushes.take(session.number, queue, n - len(found))
                if pushes.quota:
                    most = min(n, len(found) + unfilled)
            if source in pushes.passing:
                continue
            frame = self._gets.get(source)
            if frame is None:
                frame = self._gets[source] = methods.get(1, source)
            # Asked as often as it is known to have messages.
            left = self._left.get(source, 0) or 1
            while left and len(found) < most:
                count = min(most - len(found), left, MOST)
                answers = session.call(frame * count, count, time.monotonic() + self._timeout)
                for method, payload, header, body in answers:
                    if method == methods.GET_OK:
                        tag, redelivered = unpack_from(">QB", payload, 4)
                        found.append(new_found((session.number, tag, queue, bool(redelivered), header, body)))
                last = answers[-1]
                left = unpack_from(">I", last[1], len(last[1]) - 4)[0] if last[0] == methods.GET_OK else 0
                self._left[source] = left
        return found

    def _returns(self, queues: Sequence[str]) -> list[str]:
        """The queues where suspects of these return to."""
        return [source for source, queue in self._mains.items() if queue in queues]

    def _let_push(self, session: Session, queue: str, n: int) -> None:
        """Make consumers that stay for the slots that have none; `n` are free."""
        pushes = self.pushes
        if pushes.quota > self.slots:
            pushes.leave(session)  # there are fewer slots than there were
        pushed, others = self._ledger.counted()
        free = n - max(0, pushes.quota - pushed) - sum(map(len, pushes.brought.values()))
        more = min(self.slots - others - pushes.quota, free)
        if more * STEP >= self.slots:
            pushes.stay_at(session, queue, more)

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────

    def _wait(self, session: Session, queues: Sequence[str], n: int, bell: Bell, deadline: float) -> int:
        """Wait until something may have come; how many are to be asked for, as they may not be pushed."""
        pushes = self.pushes
        if not pushes.quota:
            pushes.wait_at(session, {queue: queue for queue in queues})
        if bell.wait(min(deadline, self._look_at) - time.monotonic()) or time.monotonic() >= deadline:
            return 0
        # Not at once: where there is much to do these would come and go with every slot.
        pushes.wait_at(session, {source: self._mains[source] for source in self._returns(queues)})
        unfilled = n - pushes.on_its_way() if pushes.quota else 0
        if unfilled <= 0:
            bell.wait(deadline - time.monotonic())
            return 0
        return 0 if bell.wait(min(deadline - time.monotonic(), STUCK)) else unfilled

    def wake(self) -> None:
        """Let a waiting `take` return now, or the next one that would wait."""
        self._woken = True
        self._tell()

    def rest(self) -> list[Found]:
        """Let nothing be pushed until the next `take`; what was, to be given back."""
        pushes = self.pushes
        pushes.rests = True
        session = self.line.alive
        if session is not None:
            pushes.wait_no_more(session)
            if pushes.quota:
                pushes.leave(session)
                self._see_the_last(session)
        pushes.refuses = True
        return self.overflow()

    def _see_the_last(self, session: Session) -> None:
        """Wait for all that was on its way: what came after would go back as if somebody had died."""
        deadline = time.monotonic() + LAST
        with suppress(Failure):
            # The first is answered when nothing more is sent to the channel, the second by the channel.
            for _ in range(2):
                session.connection.call(session.channel, methods.qos(1, 1), 1, deadline)

    def overflow(self) -> list[Found]:
        """Hand over what was pushed and nobody has room for."""
        session = self.line.alive
        return [
            one for one in self.pushes.overflow() if session is not None and one.session == session.number
        ]

    def surplus(self) -> dict[str, int]:
        """How many messages were pushed that nobody has taken yet, by queue."""
        return self.pushes.counts()

    def _tell(self) -> None:
        with self._lock:
            for bell in self._waiting:
                bell.ring()

    # ── in the connection's thread ───────────────────────────────────────────────────────────────────────

    def _prepare(self, session: Session) -> None:
        self.pushes.begin(session.number)
        self._left.clear()
        self._ensured.clear()
        self._ledger.begin(session.number)
        channel = session.channel
        channel.on_deliver = partial(self.pushes.delivered, session)
        # Noted in the order of the tags, before anybody can acknowledge all up to a later one.
        channel.on_got = partial(self._ledger.arrived, session.number)
        channel.on_cancel = partial(self._cancelled, session)
        channel.on_lost = partial(self._lost, session)
        channel.on_look = self._look
        channel.expects = lambda: self._waiting

    def _look(self) -> None:
        """Whether the hub is busy with something else: then others are to have what was pushed to us."""
        if self.pushes.neglected() and not self._leaving:
            self._leaving = True
            self._calm_until = time.monotonic() + CALM
            native.start(self._leave, "greenq-consume-leave")

    def _leave(self) -> None:
        try:
            self.on_neglected()
        finally:
            self._leaving = False

    def _cancelled(self, session: Session, tag: str) -> None:
        """The server ended a consumer, as its queue was deleted: it is declared again."""
        queue = self.pushes.cancelled(session, tag)
        if queue is not None:
            session.declared.difference_update((queue, trial_name(queue)))
            self._ensured.discard(queue)
        self._tell()

    def _lost(self, session: Session, error: Failure) -> None:
        if isinstance(error, Refused) and error.code == 404:
            session.declared.clear()
            self._ensured.clear()
        self._tell()
