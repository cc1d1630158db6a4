"""The leanest way to speak to Redis from Python: one connection, one command at a time."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import hiredis

__all__ = ["Link"]


class Link:
    """One connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def do(self, *words: bytes) -> Any:
        """Carry out one command."""
        self._socket.sendall(
            b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
        )
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(1 << 20))
        return reply
