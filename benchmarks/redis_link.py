"""The leanest way to speak to Redis from Python: one connection, one round trip at a time."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import hiredis

__all__ = ["Link", "pack"]


class Link:
    """One connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def do(self, *words: bytes) -> Any:
        """Carry out one command."""
        self._socket.sendall(pack(words))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(1 << 20))
        return reply

    def send(self, commands: bytes) -> None:
        """Send packed commands."""
        self._socket.sendall(commands)

    def replies(self, count: int) -> list[Any]:
        """Wait for so many replies."""
        replies: list[Any] = []
        while len(replies) < count:
            if (reply := self._reader.gets()) is False:
                self._reader.feed(self._socket.recv(1 << 20))
            else:
                replies.append(reply)
        return replies


def pack(words: tuple[bytes, ...]) -> bytes:
    """Turn one command into what is sent."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
