"""The RabbitMQ broker: Celery's queues, taken from in exact numbers, with delays and dead letters beside."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from struct import unpack_from

from greenq.amqp import methods, native_delay
from greenq.amqp.address import Address, parse
from greenq.amqp.charging import Charger
from greenq.amqp.deadletters import DeadLetters
from greenq.amqp.failures import Failure, Refused, Unreachable
from greenq.amqp.held import Ledger
from greenq.amqp.inbox import Inbox
from greenq.amqp.management import Management, Told
from greenq.amqp.publishing import Publisher
from greenq.amqp.radio import AmqpRadio
from greenq.amqp.receiving import Receiver
from greenq.amqp.settling import Settler
from greenq.amqp.topology import LEVELS, Topology, count_of, dead_name, delay_name, returned_name
from greenq.amqp.unconfirmed import UnconfirmedPublisher
from greenq.brokers.base import Broker, Guarantees
from greenq.errors import BrokerError, BrokerUnreachable, GreenqError, PublishError
from greenq.exchanges import Shape, broadcast_queue
from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement
from greenq.radio import Radio
from greenq.serverfailures import Translation

__all__ = ["AmqpBroker"]

SETTLED = 12.0
"""Seconds within which what does not move is counted: queues tell every five, and are asked every five."""
ANSWERS = 3.0
"""Seconds that the management plugin may take, which need not be there."""
LOOK_EVERY = 0.25
LEAVING = 3.0
"""Seconds that giving back what was pushed may take; what is left returns with the end of the connection."""
FORGOTTEN = 1800.0
"""Seconds after which a node that is away is not told of broadcasts any more."""
UNTOLD = Told(None)


_translation = Translation(BrokerError, BrokerUnreachable)


class AmqpBroker(Broker):
    """Keeps messages in RabbitMQ, where and how Celery does.

    Parameters:
        url: see `greenq.amqp.address.parse`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake.
    """

    guarantees = Guarantees(
        survives_process=True,
        shared=True,
        exact_fetch=True,
        priorities=1,
        limits=(
            "A lease is the connection: what a process held returns as soon as the server misses it.",
            "Priorities exist in queues made with x-max-priority (max_priority in the address) only.",
            "A task that runs longer than the server's consumer_timeout is delivered again.",
            "What is requeued goes to the end of its queue.",
            "Without its management plugin the server does not list its queues: those of the configuration "
            "and of this process are shown, without priorities, and leased counts this process's deliveries.",
        ),
        timed_leases=False,
        returns_in_front=False,
        lists_queues=False,
        exchanges=("direct", "topic", "fanout", "headers"),
        broadcasts=True,
        arguments=True,
        recognises=True,
    )

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.address: Address = parse(url)
        most = self.address.max_priority
        self.guarantees = replace(
            type(self).guarantees,
            priorities=1 if most is None else min(most, 9) + 1,
            longest_hold=self.address.consumer_timeout or None,
        )
        self._timeout = timeout
        self._topology = Topology(self.address)
        self._ledger = Ledger()
        self._publisher = Publisher(self.address, self._topology)
        self._unconfirmed: UnconfirmedPublisher | None = None
        if not self.address.confirm_publish:
            self._unconfirmed = UnconfirmedPublisher(self.address, self._topology)
        self._inbox = Inbox(self.address, self._topology, self._ledger, timeout)
        self._settler = Settler(self._inbox.line, self._ledger, self._publisher, self._topology)
        self._charger = Charger(self._inbox.line, self._ledger, self._publisher, self._topology)
        self._receiver = Receiver(self._inbox, self._ledger, self._settler, timeout)
        self._inbox.on_neglected = self._leave_to_others
        self._dead = DeadLetters(self._inbox.line, self._publisher, self._topology, timeout)
        self._management = Management(self.address)
        self._attended: list[str] = []
        self._known: dict[str, None] = {}
        self._process: str | None = None
        self._pid = os.getpid()
        self._closed = False

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        self._open()
        if not messages:
            return []
        publisher = self._publisher
        if self._unconfirmed is not None and self._process is None:
            # Not where a worker runs: what it sends for a task must be safe before that task is settled.
            publisher = self._unconfirmed
        try:
            errors = publisher.publish(messages, time.monotonic() + timeout)
        except Unreachable as error:
            raise BrokerUnreachable(str(error)) from error
        except Failure as error:
            failed = PublishError(f"{error}; nothing was sent")
            return [failed for _ in messages]
        for message in messages:
            self._known[message.queue] = None
        return errors

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

    def lease(self, process: str, seconds: float) -> None:
        """Name this process; its lease is its connection, however long that lasts."""
        self._open()
        with _translation:
            self._inbox.line.session(time.monotonic() + self._timeout)
        self._process, self._pid = process, os.getpid()

    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        if self._closed or self._process is None or self._pid != os.getpid():
            self._leased()
        wanted = tuple(dict.fromkeys(queues))
        if n < 1 or not wanted:
            return []
        self._known.update(dict.fromkeys(wanted))
        deadline = time.monotonic() + max(0.0, timeout)
        self._inbox.slots = self.slots
        try:
            while found := self._inbox.take(wanted, n, deadline):
                deliveries = self._receiver.admit(found, len(found) >= n)
                if deliveries:
                    return deliveries
            return []
        except Failure as error:
            raise _translation.of(error) from error

    def wake(self) -> None:
        self._inbox.wake()
        self._leave_to_others()

    def _leave_to_others(self) -> None:
        """Let nothing be pushed until the next fetch, and others have what was."""
        found = self._inbox.rest()
        # Where the connection is lost the server has them back already.
        with suppress(Failure, GreenqError):
            self._receiver.leave(found, time.monotonic() + min(self._timeout, LEAVING))

    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        if self._closed:
            self._open()
        if not settlements:
            return []
        try:
            return self._settler.settle(settlements, time.monotonic() + timeout)
        except Failure as error:
            raise _translation.of(error) from error

    def renew(self) -> None:
        """Nothing to do: the connection's own thread answers heartbeats, off every hub."""
        self._leased()

    def reap(self) -> int:
        """Nothing to return: what lost connections held the server returns itself."""
        self._open()
        if self._attended:
            self._keep_attended(time.monotonic() + self._timeout)
        return 0

    def release(self, process: str, charge: bool = True) -> int:
        """Give back what this process holds; of others the server knows itself that they are dead."""
        self._open()
        if process != self._process:
            return 0
        self._leave_to_others()
        with _translation:
            held, tags = self._ledger.all()
            self._settler.give_back(tags, time.monotonic() + self._timeout)
        return len(held)

    # ── suspects ─────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, deliveries: Sequence[Delivery], timeout: float, withdraw: bool = False) -> list[bool]:
        self._open()
        if not deliveries:
            return []
        with _translation:
            return self._charger.charge(deliveries, 0 if withdraw else 1, time.monotonic() + timeout)

    # ── looking after queues ─────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Sequence[str]) -> None:
        self._open()
        deadline = time.monotonic() + self._timeout
        with _translation:
            session = self._inbox.line.session(deadline)
            for queue, problem in self._topology.ensure(session, queues, deadline).items():
                raise BrokerError(f"the queue {queue!r:.80} cannot be used: {problem}")
            if self.address.celery_delay:
                native_delay.join(session, queues, deadline)
        self.expect(queues)

    def shape(self, shapes: Mapping[str, Shape]) -> None:
        super().shape(shapes)
        self._topology.shapes.update(shapes)

    def attend(self, queue: str, node: str, timeout: float) -> str:
        self._open()
        own = broadcast_queue(queue, node)
        shape = self._topology.shapes[queue]
        self._topology.shapes[own] = replace(
            shape, name=own, broadcast=False, arguments={"x-expires": int(FORGOTTEN * 1000)}
        )
        self._attended.append(own)
        self._keep_attended(time.monotonic() + timeout)
        self.expect([own])
        return own

    def _keep_attended(self, deadline: float) -> None:
        """Make this node's own queues, or let the server know that they are in use."""
        with _translation:
            session = self._inbox.line.session(deadline)
            session.declared.difference_update(self._attended)
            for own, problem in self._topology.ensure(session, self._attended, deadline).items():
                raise BrokerError(f"the queue {own!r:.80} cannot be used: {problem}")

    def expect(self, queues: Sequence[str]) -> None:
        self._known.update(dict.fromkeys(queues))

    def radio(self) -> Radio:
        self._open()
        return AmqpRadio(self._publisher.line, self._inbox.line)

    def depth(self) -> dict[str, Depth]:
        self._open()
        queues = list(self._known)
        names = [
            name
            for queue in queues
            for name in (queue, returned_name(queue), dead_name(queue), *_delays(queue))
        ]
        with _translation:
            counts = iter(self._count(names))
            leased, surplus = self._ledger.counts(), self._inbox.surplus()
            found: dict[str, Depth] = {}
            for queue in queues:
                ready, returned, dead = next(counts), next(counts), next(counts)
                delayed = [next(counts) or 0 for _ in range(LEVELS)]
                if ready is not None:
                    found[queue] = Depth(
                        ready + (returned or 0) + surplus.get(queue, 0),
                        sum(delayed),
                        leased.get(queue, 0),
                        dead or 0,
                    )
        return found

    def survey(self) -> dict[str, Depth]:
        """What `depth` tells, and from the management plugin the other queues, all leases and priorities."""
        deadline = time.monotonic() + SETTLED
        before: dict[str, Depth] | None = None
        while True:
            told = self._management.queues(min(ANSWERS, self._timeout))
            if told is None:
                return self.depth()
            self.expect(list(told))
            depths = self.depth()
            behind = any(told.get(name, UNTOLD).ready != depth.ready for name, depth in depths.items())
            # It counts every few seconds: waited for where nothing moves, and never of now elsewhere.
            moving = before is not None and before != depths
            if not behind or moving or time.monotonic() > deadline:
                break
            before = depths
            time.sleep(LOOK_EVERY)
        return {name: _detailed(depth, told.get(name)) for name, depth in depths.items()}

    def _count(self, names: Sequence[str]) -> list[int | None]:
        """How many messages are ready in each queue; None where there is none."""
        deadline = time.monotonic() + self._timeout
        session = self._inbox.line.session(deadline)
        frames = [methods.declare_queue(1, name, passive=True) for name in names]
        return [
            None if isinstance(answer, Refused) else count_of(answer[1])
            for answer in session.aside(frames, deadline)
        ]

    def purge(self, queue: str) -> int:
        self._open()
        deadline = time.monotonic() + self._timeout
        with _translation:
            session = self._inbox.line.session(deadline)
            frames = [methods.purge_queue(1, name) for name in (queue, returned_name(queue), *_delays(queue))]
            return sum(
                unpack_from(">I", answer[1], 4)[0]
                for answer in session.aside(frames, deadline)
                if not isinstance(answer, Refused)
            )

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        self._open()
        with _translation:
            return self._dead.list([queue] if queue is not None else list(self._known), limit)

    def replay(self, key: str) -> bool:
        self._open()
        with _translation:
            return self._dead.replay(key)

    def bury(self, queue: str | None = None) -> int:
        self._open()
        with _translation:
            return self._dead.bury([queue] if queue is not None else list(self._known))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """End the connections; the server then returns what was held."""
        if self._closed:
            return
        self._closed = True
        self._publisher.line.close()
        if self._unconfirmed is not None:
            self._unconfirmed.close()
        self._inbox.line.close()

    def _open(self) -> None:
        if self._closed:
            raise BrokerError("this broker is closed: make another one")

    def _leased(self) -> None:
        self._open()
        if self._process is None or self._pid != os.getpid():
            raise BrokerError("this process has no lease: call lease() before fetch() and renew()")


def _detailed(depth: Depth, told: Told | None) -> Depth:
    if told is None:
        return depth
    return replace(depth, leased=max(depth.leased, told.leased), by_priority=told.by_priority)


def _delays(queue: str) -> list[str]:
    return [delay_name(queue, level) for level in range(LEVELS)]
