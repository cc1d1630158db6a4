"""Send messages: many in one go, each confirmed by the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.envelope import pack_header
from greenq.amqp.failures import Failure
from greenq.amqp.line import Line, Session
from greenq.amqp.topology import LEVELS, Topology, delay_route, ticks
from greenq.errors import GreenqError, PublishError, PublishTimeout
from greenq.message import Message
from pools import native

__all__ = ["CHUNK", "CHUNK_BYTES", "Parcel", "Publisher", "frames_of"]

CHUNK, CHUNK_BYTES = 500, 1_000_000
"""Messages, and their bytes, that go to the socket at once."""
FRAME = 20
"""Bytes of a content header's frame beside properties and headers."""


PAUSES = (0.05, 0.2, 0.8)
"""Seconds before a refused message is sent again."""


class Refusal(PublishError):
    """The queue did not take the message."""


class Parcel:
    """A message that is ready to go.

    Parameters:
        queue: for error messages; empty if the exchange finds the queues.
    """

    __slots__ = ("body", "exchange", "header", "key", "mandatory", "queue")

    def __init__(
        self, queue: str, exchange: str, key: str, header: bytes, body: bytes, mandatory: bool = True
    ) -> None:
        self.queue = queue
        self.exchange = exchange
        self.key = key
        self.header = header
        self.body = body
        self.mandatory = mandatory

    @property
    def place(self) -> str:
        """Where it goes, for people."""
        return f"the queue {self.queue!r:.80}" if self.queue else f"a queue of {self.exchange!r:.80}"


class Batch:
    """The messages of one call, and who waits for their confirmations."""

    __slots__ = ("errors", "missing", "parcels", "signal")

    def __init__(self, parcels: Sequence[Parcel]) -> None:
        self.parcels = parcels
        self.errors: list[GreenqError | None] = [None] * len(parcels)
        self.missing = len(parcels)
        self.signal = native.Signal()


class Publisher:
    """Publishes over a connection of its own; calls at the same time share it and its confirmations.

    Parameters:
        name: of the connection, shown by RabbitMQ.
        prepared: may add its own handlers to each new main channel.
    """

    def __init__(
        self,
        address: Address,
        topology: Topology,
        name: str = "publish",
        prepared: Callable[[Session], None] | None = None,
    ) -> None:
        self._address = address
        self._topology = topology
        self._prepared = prepared
        self._lock = native.Lock()
        self._session: Session | None = None
        self._next = 1
        self._pending: dict[int, tuple[Batch, int]] = {}
        self.line = Line(address, name, (methods.confirm_select(1), 1), self._prepare)

    def publish(
        self,
        messages: Sequence[Message],
        deadline: float,
        extra: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[GreenqError | None]:
        """Send messages to their queues, or to wait for their time; for each None, or why it failed.

        Parameters:
            extra: more headers, for each.

        Raises:
            Failure: none was sent.
        """
        errors: list[GreenqError | None] = [None] * len(messages)
        session = self.line.session(deadline)
        straight = {m.queue for m in messages if not m.exchange and _named(m)}
        refused = self._topology.ensure(session, straight, deadline)
        parcels: list[Parcel] = []
        places: list[int] = []
        for i, message in enumerate(messages):
            try:
                if message.exchange:
                    parcels.append(self._outward(session, message, extra[i] if extra else None, deadline))
                    places.append(i)
                    continue
                if message.queue in refused:
                    raise PublishError(f"the queue {message.queue!r:.80}: {refused[message.queue]}")
                parcels.append(self._parcel(session, message, extra[i] if extra else None, deadline))
                places.append(i)
            except PublishError as error:
                errors[i] = error
        if parcels:
            for i, problem in zip(places, self._send_again(session, parcels, deadline), strict=True):
                errors[i] = problem
        return errors

    def _outward(
        self, session: Session, message: Message, extra: Mapping[str, Any] | None, deadline: float
    ) -> Parcel:
        """A message for an exchange, which finds the queues."""
        exchange, key = message.exchange, message.routing_key
        try:
            self._topology.ensure_exchange(session, exchange, deadline)
            if message.due is not None and ticks(message.due):
                exit = self._topology.ensure_exit(session, exchange, key, deadline)
                return self._parcel(session, replace(message, queue=exit, exchange=""), extra, deadline)
        except Failure as error:
            raise PublishError(f"the exchange {exchange!r:.80}: {error}; nothing was sent") from error
        header = self._header(session, message, extra, True)
        # Whom a broadcast does not reach, it is not for.
        told = any(s.broadcast and s.exchange == exchange for s in self._topology.shapes.values())
        return Parcel("", exchange, key, header, message.body, mandatory=not told)

    def _parcel(
        self, session: Session, message: Message, extra: Mapping[str, Any] | None, deadline: float
    ) -> Parcel:
        queue = message.queue
        if not _named(message):
            raise PublishError(
                f"there can be no queue {queue!a:.80}: a name has 1 to 255 bytes of UTF-8 and no line breaks"
            )
        count = 0 if message.due is None else ticks(message.due)
        # Where it waits, Celery's property of that name would let it go on before its time.
        header = self._header(session, message, extra, not count)
        if not count:
            return Parcel(queue, "", queue, header, message.body)
        if count >= 1 << LEVELS:
            raise PublishError("the message is due in more than eight years: choose a nearer time")
        try:
            self._topology.ensure_delay(session, queue, count, deadline)
        except Failure as error:
            raise PublishError(f"the delay queues of {queue!r:.80}: {error}; nothing was sent") from error
        return Parcel(queue, *delay_route(queue, count), header, message.body)

    def _header(
        self, session: Session, message: Message, extra: Mapping[str, Any] | None, expiring: bool
    ) -> bytes:
        header = pack_header(message, extra, expiring=expiring)
        if len(header) > session.connection.frame_size - FRAME:
            raise PublishError(
                f"the message has {len(header)} bytes of headers, and RabbitMQ takes "
                f"{session.connection.frame_size - FRAME} (its frame_max): pass large data as arguments"
            )
        return header

    def _send_again(
        self, session: Session, parcels: Sequence[Parcel], deadline: float
    ) -> list[GreenqError | None]:
        """Send; what a queue refuses once more, as a quorum queue does while it is being made."""
        errors = self.send(session, parcels, deadline)
        for pause in PAUSES:
            refused = [i for i, error in enumerate(errors) if isinstance(error, Refusal)]
            if not refused or time.monotonic() + pause >= deadline or session.lost is not None:
                break
            native.Signal().wait(pause)
            again = self.send(session, [parcels[i] for i in refused], deadline)
            for i, error in zip(refused, again, strict=True):
                errors[i] = error
        return errors

    # ── sending and waiting ──────────────────────────────────────────────────────────────────────────────

    def send(self, session: Session, parcels: Sequence[Parcel], deadline: float) -> list[GreenqError | None]:
        """Send what is ready and wait for the confirmations; for each None, or why it failed."""
        batch = Batch(parcels)
        at = 0
        problem: GreenqError | None = None
        while at < len(parcels) and problem is None:
            problem = self._wait_for_room(session, deadline)
            if problem is None:
                some, size = at, 0
                while at < len(parcels) and at - some < CHUNK and size < CHUNK_BYTES:
                    size += len(parcels[at].body)
                    at += 1
                try:
                    self._send(session, batch, some, at)
                except Failure as error:
                    at = some
                    problem = PublishError(f"{error}; nothing was sent")
        if problem is not None:
            self._settle_rest(batch, at, problem)
        batch.signal.wait(max(0.0, deadline - time.monotonic()))
        if not batch.signal.is_set:
            self._give_up(session, batch)
        return batch.errors

    def _wait_for_room(self, session: Session, deadline: float) -> GreenqError | None:
        connection = session.connection
        while (signal := connection.ease()) is not None:
            if not signal.wait(max(0.0, deadline - time.monotonic())):
                why = connection.blocked or "it takes messages slower than they are sent"
                return PublishTimeout(f"RabbitMQ takes no messages now ({why}); this one was not sent")
        return None

    def _send(self, session: Session, batch: Batch, start: int, end: int) -> None:
        data = frames_of(batch.parcels[start:end], session.connection.frame_size)
        with self._lock:
            if session is not self._session:
                raise session.lost.again() if session.lost else Failure("the connection was lost")
            number = self._next
            # Registered before it is sent: the confirmation may be faster than this thread.
            for i in range(start, end):
                self._pending[number] = batch, i
                number += 1
            try:
                session.connection.send(session.channel, data)
            except Failure:
                for sent in range(self._next, number):
                    self._pending.pop(sent, None)
                raise
            self._next = number

    def _settle_rest(self, batch: Batch, start: int, problem: GreenqError) -> None:
        with self._lock:
            for i in range(start, len(batch.parcels)):
                batch.errors[i] = problem
                batch.missing -= 1
            done = batch.missing <= 0
        if done:
            batch.signal.set()

    def _give_up(self, session: Session, batch: Batch) -> None:
        blocked = session.connection.blocked
        why = f"RabbitMQ takes no messages now ({blocked})" if blocked else "RabbitMQ did not confirm in time"
        with self._lock:
            for number, (other, i) in list(self._pending.items()):
                if other is batch:
                    del self._pending[number]
                    batch.errors[i] = PublishTimeout(f"{why}: the message may have arrived")

    # ── in the connection's thread ───────────────────────────────────────────────────────────────────────

    def _prepare(self, session: Session) -> None:
        if self._session is not None:
            self._lost(self._session, self._session.lost or Failure("the connection was lost"))
        with self._lock:
            self._session = session
            self._next = 1
        channel = session.channel
        channel.on_confirm = partial(self._confirmed, session)
        channel.on_return = partial(self._returned, session)
        channel.on_lost = partial(self._lost, session)
        channel.expects = lambda: self._pending
        if self._prepared is not None:
            self._prepared(session)

    def _confirmed(self, session: Session, tag: int, multiple: bool, taken: bool) -> None:
        ended: list[Batch] = []
        with self._lock:
            if session is not self._session:
                return
            # What is pending stands there in the order of its numbers.
            for number in list(takewhile(tag.__ge__, self._pending)) if multiple else (tag,):
                entry = self._pending.pop(number, None)
                if entry is None:
                    continue
                batch, i = entry
                if not taken and batch.errors[i] is None:
                    batch.errors[i] = Refusal(
                        f"{batch.parcels[i].place} refused the message (nack): it is full, "
                        f"or the server failed"
                    )
                batch.missing -= 1
                if batch.missing <= 0:
                    ended.append(batch)
        for batch in ended:
            batch.signal.set()

    def _returned(self, session: Session, payload: bytes, header: bytes) -> None:
        """No queue took a message; its confirmation follows."""
        _, at = methods.read_short(payload, 6)
        exchange, at = methods.read_short(payload, at)
        key, _ = methods.read_short(payload, at)
        properties = header[12:]
        with self._lock:
            fits = [
                (batch, i)
                for batch, i in self._pending.values()
                if batch.errors[i] is None
                and (batch.parcels[i].exchange, batch.parcels[i].key) == (exchange, key)
            ]
            exact = [(b, i) for b, i in fits if b.parcels[i].header == properties]
            for batch, i in (exact or fits)[:1]:
                queue = batch.parcels[i].queue
                nobody = f"there is no queue {queue!r:.80} (any more) to take the message"
                if not queue:
                    nobody = f"the exchange {exchange!r:.80} has no queue for the routing key {key!r:.80}"
                batch.errors[i] = PublishError(f"{nobody}; nothing was sent")
                session.declared.discard(queue)
                session.exchanges.clear()
                session.delays.clear()

    def _lost(self, session: Session, error: Failure) -> None:
        with self._lock:
            if session is not self._session:
                return
            pending, self._pending = self._pending, {}
            batches = {id(batch): batch for batch, _ in pending.values()}
            for batch, i in pending.values():
                if batch.errors[i] is None:
                    batch.errors[i] = PublishTimeout(f"{error}: the message may have arrived")
                batch.missing -= 1
        for batch in batches.values():
            if batch.missing <= 0:
                batch.signal.set()


def frames_of(parcels: Sequence[Parcel], frame_size: int) -> bytes:
    """The frames that publish them on the main channel."""
    pieces: list[bytes] = []
    for parcel in parcels:
        pieces.append(methods.publish(1, parcel.exchange, parcel.key, parcel.mandatory))
        pieces += methods.content(1, parcel.header, parcel.body, frame_size)
    return b"".join(pieces)


def _named(message: Message) -> bool:
    try:
        # RabbitMQ takes line breaks out of a name and then does not find it.
        return 0 < len(message.queue.encode()) <= 255 and not {"\n", "\r"} & set(message.queue)
    except (AttributeError, UnicodeEncodeError):
        return False
