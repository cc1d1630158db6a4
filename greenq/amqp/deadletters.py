"""Read, replay and drop what is kept as dead: a queue of its own beside each queue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from struct import unpack_from
from typing import Any

from greenq.amqp import methods
from greenq.amqp.channel import Channel
from greenq.amqp.envelope import DEAD, Unreadable, unpack
from greenq.amqp.failures import Refused
from greenq.amqp.line import Line, Session
from greenq.amqp.publishing import Parcel, Publisher
from greenq.amqp.topology import Topology, dead_name
from greenq.errors import BrokerError
from greenq.message import DeadLetter

__all__ = ["DeadLetters"]

AT_ONCE = 200


class DeadLetters:
    """Looks through queues of dead letters; whoever looks keeps them from others for that moment.

    Parameters:
        line: whose connection is used, each time with a channel of its own.
        timeout: seconds that one call may take.
    """

    def __init__(self, line: Line, publisher: Publisher, topology: Topology, timeout: float) -> None:
        self._line = line
        self._publisher = publisher
        self._topology = topology
        self._timeout = timeout

    def list(self, queues: Sequence[str], limit: int) -> list[DeadLetter]:
        """The newest of these queues."""
        letters = []
        deadline = time.monotonic() + self._timeout
        for queue in queues:
            with self._reading(deadline) as look:
                letters += [_letter(queue, header, body) for _, header, body in look.through(queue)]
        letters.reverse()
        letters.sort(key=lambda letter: -letter.died)
        return letters[:limit]

    def replay(self, key: str) -> bool:
        """Send one to its queue again."""
        queue, _, _ = key.rpartition("/")
        if not queue:
            return False
        deadline = time.monotonic() + self._timeout
        with self._reading(deadline) as look:
            for tag, header, body in look.through(queue):
                letter = _letter(queue, header, body)
                if letter.key == key:
                    self._send(queue, letter, deadline)
                    look.drop(tag)
                    return True
        return False

    def _send(self, queue: str, letter: DeadLetter, deadline: float) -> None:
        if letter.message is not None:
            error = self._publisher.publish([letter.message], deadline)[0]
        else:
            session = self._publisher.line.session(deadline)
            problems = self._topology.ensure(session, [queue], deadline)
            if problems:
                raise BrokerError(f"the queue {queue!r:.80} cannot be used: {problems[queue]}")
            size = int.from_bytes(letter.raw[:4], "big")
            header, body = letter.raw[16 : 4 + size], letter.raw[4 + size :]
            error = self._publisher.send(session, [Parcel(queue, "", queue, header, body)], deadline)[0]
        if error is not None:
            raise error

    def bury(self, queues: Sequence[str]) -> int:
        """Drop those of these queues; how many they were."""
        deadline = time.monotonic() + self._timeout
        session = self._line.session(deadline)
        frames = [methods.purge_queue(1, dead_name(queue)) for queue in queues]
        return sum(
            unpack_from(">I", answer[1], 4)[0]
            for answer in session.aside(frames, deadline)
            if not isinstance(answer, Refused)
        )

    @contextmanager
    def _reading(self, deadline: float) -> Iterator[_Look]:
        session = self._line.session(deadline)
        channel, opening = session.connection.channel()
        look = _Look(session, channel, deadline)
        try:
            session.connection.call(channel, opening, 1, deadline)
            yield look
        finally:
            look.put_back()
            session.connection.drop(channel)


class _Look:
    """One look through a queue, on a channel of its own."""

    def __init__(self, session: Session, channel: Channel, deadline: float) -> None:
        self._session = session
        self._channel = channel
        self._deadline = deadline
        self._last = 0

    def through(self, queue: str) -> Iterator[tuple[int, bytes, bytes]]:
        """Everything in the queue of dead letters, the oldest first."""
        frame = methods.get(self._channel.number, dead_name(queue))
        left = 1
        while left:
            count = min(left, AT_ONCE)
            try:
                answers = self._call(frame * count, count)
            except Refused as refused:
                if refused.code == 404:
                    return
                raise
            left = 0
            for method, payload, header, body in answers:
                if method == methods.GET_OK:
                    (self._last,) = unpack_from(">Q", payload, 4)
                    (left,) = unpack_from(">I", payload, len(payload) - 4)
                    yield self._last, header, body

    def drop(self, tag: int) -> None:
        """Take one out for good."""
        data = methods.ack(self._channel.number, tag) + methods.qos(self._channel.number, 1)
        self._call(data, 1)

    def put_back(self) -> None:
        """Give the others back, in their order."""
        if self._last and self._channel.lost is None:
            number = self._channel.number
            self._call(methods.nack_all(number) + methods.qos(number, 1), 1)

    def _call(self, data: bytes, answers: int) -> Any:
        return self._session.connection.call(self._channel, data, answers, self._deadline)


def _letter(queue: str, header: bytes, body: bytes) -> DeadLetter:
    try:
        message, _, notes = unpack(queue, header, body)
    except Unreadable as problem:
        raw = len(header).to_bytes(4, "big") + header + body
        return DeadLetter(f"{queue}/", queue, str(problem), 0.0, None, raw)
    about = notes.get(DEAD)
    if not isinstance(about, dict):
        about = {}
    died = about.get("died")
    unreadable = about.get("problem")
    return DeadLetter(
        key=f"{queue}/{about.get('key', '')}",
        queue=queue,
        reason=str(about.get("reason", "")),
        died=float(died) if isinstance(died, int | float) else 0.0,
        message=None if unreadable else message,
        raw=body if unreadable else b"",
        trace=about.get("trace"),
    )
