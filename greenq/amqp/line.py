"""A connection that is made anew when it is lost, and the work that needs channels of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.channel import SPENT, Answer, Channel
from greenq.amqp.connection import Connection
from greenq.amqp.failures import Closed, Failure, Late, Refused, Unreachable
from greenq.errors import ConfigError
from pools import native

__all__ = ["Line", "Session"]

PAUSE_FIRST, PAUSE_MOST = 0.05, 1.0
"""Seconds between attempts to connect again: doubled each time, up to the most."""
PROBES = 200
"""Channels that are open at once to look at queues."""


class Session:
    """One life of a connection, and its main channel.

    Attributes:
        declared: names of queues that are known to be there.
        exchanges: names of exchanges that are known to be there.
        delays: levels and queues of delays that are known to be there.
    """

    def __init__(self, number: int, connection: Connection, channel: Channel) -> None:
        self.number = number
        self.connection = connection
        self.channel = channel
        self.declared: set[str] = set()
        self.delays: set[object] = set()
        self.exchanges: set[str] = set()

    @property
    def lost(self) -> Failure | None:
        """Why it is of no more use; None while it is."""
        return self.connection.lost or self.channel.lost

    def call(self, data: bytes, answers: int, deadline: float) -> list[Answer]:
        """Ask on the main channel. Who gets no answer in time ends the connection: its state is unknown."""
        try:
            reply = self.connection.send(self.channel, data, answers)
            assert reply is not None
            if reply.bell.wait(deadline - time.monotonic()) and reply.error is None:
                # As `Reply.wait` does, for every fetch and so without a call.
                found, reply.answers = reply.answers, SPENT
                reply.spent.append(reply)
                return found
            return reply.unheard()
        except Late as late:
            self.connection.abort(Failure(str(late), True))
            raise

    def aside(self, frames: Sequence[bytes], deadline: float, most: int = PROBES) -> list[Answer | Refused]:
        """Ask each question on a channel of its own, so that a refusal harms nothing else.

        Returns:
            The answer to each, or the refusal.
        """
        found: list[Answer | Refused] = []
        most = max(1, min(most, self.connection.most_channels // 4))
        for at in range(0, len(frames), most):
            asked = []
            for frame in frames[at : at + most]:
                channel, opening = self.connection.channel()
                data = opening + _on(channel.number, frame)
                asked.append((channel, self.connection.send(channel, data, 2)))
            try:
                for _, reply in asked:
                    assert reply is not None
                    try:
                        found.append(reply.wait(deadline)[-1])
                    except Refused as refused:
                        found.append(refused)
            finally:
                for channel, _ in asked:
                    self.connection.drop(channel)
        return found

    def together(self, frames: Sequence[bytes], deadline: float) -> list[Answer]:
        """Ask several questions in one go on one channel of its own; the first refusal ends them.

        Raises:
            Refused: the server refused one.
        """
        channel, opening = self.connection.channel()
        try:
            data = opening + b"".join([_on(channel.number, frame) for frame in frames])
            answers: list[Answer] = self.connection.call(channel, data, len(frames) + 1, deadline)
            return answers[1:]
        finally:
            self.connection.drop(channel)


def _on(channel: int, frame: bytes) -> bytes:
    """The same frame for another channel."""
    return frame[:1] + channel.to_bytes(2, "big") + frame[3:]


class Line:
    """Keeps one connection; `session` makes a new one when the last is lost.

    Parameters:
        setup: what to send after opening the main channel, whose number is 1, and how many answers come.
        prepare: sets the handlers of a new main channel.
    """

    def __init__(
        self,
        address: Address,
        name: str,
        setup: tuple[bytes, int],
        prepare: Callable[[Session], Any],
    ) -> None:
        self.address = address
        self._name = name
        self._setup = methods.open_channel(1) + setup[0], setup[1] + 1
        self._prepare = prepare
        self._lock = native.Lock()
        self.latest: Session | None = None
        """The newest one, which may be lost."""
        self._number = 0
        self._was_open = False
        self._closed = False

    def session(self, deadline: float) -> Session:
        """The session of now; after a loss attempts go on until the deadline.

        Raises:
            ConfigError: the address names a file that cannot be read.
            Failure: nobody answers. The very first connection is tried once: its address may be wrong.
        """
        pause = PAUSE_FIRST
        while True:
            session = self._current()
            connection = session.connection
            if not connection.opened.wait(max(0.0, deadline - time.monotonic())):
                raise Unreachable(f"{self.address.shown} does not answer in time")
            error = session.lost
            if error is None:
                self._was_open = True
                return session
            self._drop(session)
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__
            if isinstance(error, Closed) or not self._was_open or time.monotonic() + pause > deadline:
                raise error.again()
            native.Signal().wait(pause)
            pause = min(pause * 2, PAUSE_MOST)

    @property
    def alive(self) -> Session | None:
        """The session of now, if there is one that works."""
        session = self.latest
        if session is None or (session.connection.lost or session.channel.lost) is not None:
            return None
        return session

    def _current(self) -> Session:
        with self._lock:
            if self._closed:
                raise Closed("this client is closed: make another one")
            session = self.latest
            if session is None or session.connection.pid != os.getpid():
                channel = Channel(1)
                self._number += 1
                connection = Connection(self.address, self._number - 1, self._setup, [channel], self._name)
                session = self.latest = Session(self._number, connection, channel)
                self._prepare(session)
            return session

    def _drop(self, session: Session) -> None:
        with self._lock:
            if self.latest is session:
                self.latest = None
        # The channel alone may be lost: the connection must not stay open beside the next one.
        session.connection.close()

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        with self._lock:
            self._closed = True
            session, self.latest = self.latest, None
        if session is not None and session.connection.pid == os.getpid():
            session.connection.close()
