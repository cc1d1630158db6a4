"""Whether a silent RabbitMQ is still there: a connection that the network forgot is silent for ever."""

from __future__ import annotations

from typing import Protocol

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.channel import Channel, Reply
from greenq.amqp.failures import Unreachable

__all__ = ["Doubt"]

AFTER, PATIENCE = 1.5, 4.5
"""Seconds of silence after which a server that somebody waits for is asked something, and that it then has to
say anything: heartbeats would tell it late."""


class Asked(Protocol):
    """What of a connection is needed to ask."""

    address: Address
    channels: dict[int, Channel]
    most_channels: int

    def is_awaited(self) -> bool: ...

    def channel(self) -> tuple[Channel, bytes]: ...

    def send(self, channel: Channel, data: bytes, answers: int = 0) -> Reply | None: ...


class Doubt:
    """Asks a silent server something that harms nothing, while somebody waits for it."""

    __slots__ = ("_asked", "_probe")

    def __init__(self) -> None:
        self._asked = 0.0
        self._probe: Channel | None = None

    def weigh(self, connection: Asked, now: float, heard: float, is_sending: bool) -> None:
        """Look once more.

        Parameters:
            now, heard: the time, and when the server said something last, on the monotonic clock.
            is_sending: whether not all was sent yet.

        Raises:
            Unreachable: it was asked, and has said nothing for too long.
        """
        if heard > self._asked:
            if now - heard > AFTER and connection.is_awaited():
                self._asked = now
                self._ask(connection)
        elif is_sending:
            self._asked = now
        elif now - self._asked > PATIENCE:
            raise Unreachable(
                f"{connection.address.shown} is silent: the network may have lost the connection", True
            )

    def _ask(self, connection: Asked) -> None:
        opening = b""
        if self._probe is None or self._probe.lost is not None:
            # One of its own: on others the answer may have to wait long.
            if len(connection.channels) < connection.most_channels:
                self._probe, opening = connection.channel()
            else:
                self._probe = next(iter(connection.channels.values()))
        question = methods.qos(self._probe.number, 1)
        connection.send(self._probe, opening + question, 2 if opening else 1)
