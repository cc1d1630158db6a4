"""What arrives, cut into methods with their contents, whatever pieces it comes in."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from greenq.amqp.failures import Failure
from greenq.amqp.methods import DELIVER, GET_OK, RETURN

__all__ = ["Assembler"]

_head = Struct(">BHI").unpack_from
_method = Struct(">I").unpack_from
_size = Struct(">Q").unpack_from
WITH_CONTENT = frozenset({RETURN, DELIVER, GET_OK})
KINDS = frozenset({1, 2, 3, 8})
LARGEST = 0x200000
"""Bytes of a frame; the handshake agrees on much less."""
STRANGE = "what answers is no AMQP server: use the port of AMQP, 5672 or with TLS 5671"

Take = Callable[[int, int, bytes, bytes, bytes], Any]


def _nobody(*_: Any) -> None:
    """Take what comes too late."""


class Assembler:
    """Turns bytes into calls of `take`.

    Parameters:
        take: called with channel, method, the method's payload, and the content's header payload and body
            (empty where the method has none).
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._rest = b""
        self._open: dict[int, list[Any]] = {}
        """By channel, a message that is not complete: method, payload, header, missing bytes, pieces."""

    def feed(self, data: bytes) -> None:
        """Take in what the socket gave.

        Raises:
            Failure: it is not AMQP.
        """
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        open_, take = self._open, self._take
        while size - at >= 8:
            kind, channel, length = _head(data, at)
            end = at + 8 + length
            if kind not in KINDS or length > LARGEST:
                raise Failure(STRANGE)
            if end > size:
                break
            if data[end - 1] != 0xCE:
                raise Failure(STRANGE)
            payload = data[at + 7 : end - 1]
            at = end
            if kind == 1:
                (method,) = _method(payload)
                if method in WITH_CONTENT:
                    open_[channel] = [method, payload, b"", 0, None]
                else:
                    take(channel, method, payload, b"", b"")
            elif kind == 2:
                part = open_[channel]
                part[2] = payload
                (part[3],) = _size(payload, 4)
                if not part[3]:
                    del open_[channel]
                    take(channel, part[0], part[1], payload, b"")
            elif kind == 3:
                part = open_[channel]
                if part[4] is None and part[3] == length:
                    del open_[channel]
                    take(channel, part[0], part[1], part[2], payload)
                else:
                    self._piece(channel, part, payload)
        self._rest = data[at:]

    def _piece(self, channel: int, part: list[Any], payload: bytes) -> None:
        if part[4] is None:
            part[4] = []
        part[4].append(payload)
        part[3] -= len(payload)
        if part[3] <= 0:
            del self._open[channel]
            self._take(channel, part[0], part[1], part[2], b"".join(part[4]))

    def end(self) -> None:
        """Let go of whom it calls: nothing more comes."""
        self._take = _nobody
        self._open.clear()

    def drop(self, channel: int) -> None:
        """Forget what a closed channel left incomplete."""
        self._open.pop(channel, None)
