"""Send messages without waiting until the server has them: for those who would rather lose one than wait."""

from __future__ import annotations

import atexit
import logging
import os
import time
import weakref
from collections.abc import Sequence
from functools import partial

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.failures import Failure
from greenq.amqp.line import Line, Session
from greenq.amqp.publishing import CHUNK, CHUNK_BYTES, Parcel, Publisher, frames_of
from greenq.amqp.topology import Topology
from greenq.errors import GreenqError, PublishError

__all__ = ["UnconfirmedPublisher"]

log = logging.getLogger("greenq.amqp")

LOG_EVERY = 10.0
"""Seconds between two warnings of messages that no queue took."""
LAST_WORDS = 60.0
"""Seconds that the end waits at most for a server that takes what is left slowly."""


class UnconfirmedPublisher(Publisher):
    """Publishes over a connection of its own, whose channel the server confirms nothing on.

    What it returns says only that the connection took a message. One that no queue takes is logged.
    """

    def __init__(self, address: Address, topology: Topology) -> None:
        super().__init__(address, topology)
        self.line = Line(address, "publish", (b"", 0), self._prepare)
        self._homeless = 0
        self._told = 0.0
        self._at_exit = partial(_leave, weakref.ref(self))
        atexit.register(self._at_exit)

    def close(self) -> None:
        """Let go of the connection once all is sent, while the server takes any of it; log what is left."""
        atexit.unregister(self._at_exit)
        session = self.line.latest
        self.line.close()
        if session is None or session.connection.pid != os.getpid():
            return
        connection = session.connection
        if not connection.ended.wait(LAST_WORDS) or connection.unsent:
            log.error(
                "what was published last may not have arrived: %s took no more, and %d bytes were not sent",
                connection.address.shown, connection.unsent,
            )  # fmt: skip

    def send(self, session: Session, parcels: Sequence[Parcel], deadline: float) -> list[GreenqError | None]:
        """Hand what is ready to the connection; for each None, or why it did not take it."""
        frame_size = session.connection.frame_size
        at, count = 0, len(parcels)
        problem: GreenqError | None = None
        while at < count:
            problem = self._wait_for_room(session, deadline)
            if problem is not None:
                break
            end, size = at, 0
            while end < count and end - at < CHUNK and size < CHUNK_BYTES:
                size += len(parcels[end].body)
                end += 1
            try:
                session.connection.send(session.channel, frames_of(parcels[at:end], frame_size))
            except Failure as error:
                problem = PublishError(f"{error}; nothing was sent")
                break
            at = end
        return [None] * at + [problem] * (count - at)

    def _returned(self, session: Session, payload: bytes, header: bytes) -> None:
        """No queue took a message, and nobody waits who could be told."""
        _, at = methods.read_short(payload, 6)
        exchange, at = methods.read_short(payload, at)
        key, _ = methods.read_short(payload, at)
        session.declared.discard(key)
        session.exchanges.clear()
        session.delays.clear()
        self._homeless += 1
        now = time.monotonic()
        if now - self._told >= LOG_EVERY:
            self._told = now
            log.warning(
                "%d messages are lost, as no queue took them (the last for %a of the exchange %a)",
                self._homeless, key, exchange or "default",
            )  # fmt: skip
            self._homeless = 0


def _leave(publisher: weakref.ref[UnconfirmedPublisher]) -> None:
    """A program that publishes and ends need not close anything for it to arrive."""
    found = publisher()
    if found is not None:
        found.close()
