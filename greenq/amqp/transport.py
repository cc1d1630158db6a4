"""The socket under a connection: never green and never blocking, with TLS or without."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

from greenq.dialing import places, watch
from greenq.tls import Tls, context_of
from pools import native

__all__ = ["Transport", "dial"]

FIRST, CHUNK = 4_096, 262_144
"""Bytes that are read at once, at most: of a handshake, which may be one of many that fail, and later."""
HANDSHAKE_WITHIN = 30.0
"""Seconds for TLS over a socket that says nothing of its own."""


class Transport:
    """A connected socket. `encrypt` and `send` are called under one lock, `recv` by one thread.

    Parameters:
        tls: None for none; the handshake is done here, before the socket stops blocking.
    """

    def __init__(self, connected: Any, tls: Tls | None, host: str) -> None:
        self._socket = connected
        self._lock = native.Lock()
        self._view = memoryview(bytearray(FIRST))
        self._tls: ssl.SSLObject | None = None
        self.put: Callable[[bytes], int] | None = None if tls is not None else connected.send
        """The socket's own way to send; None where `encrypt` changes anything."""
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            context = context_of(tls)
            self._tls = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=host if context.check_hostname else None
            )
            self._shake_hands(self._tls)

    def _shake_hands(self, tls: ssl.SSLObject) -> None:
        deadline = time.monotonic() + (self._socket.gettimeout() or HANDSHAKE_WITHIN)
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                data = self._socket.recv(CHUNK)
                if not data:
                    raise OSError("it ended the connection during the TLS handshake") from None
                self._incoming.write(data)
        self._socket.sendall(self._outgoing.read())

    def exchange(self, data: bytes) -> None:
        """Send while the socket still blocks."""
        self._socket.sendall(self.encrypt(data))

    def go_on(self) -> None:
        """Block no more, and be ready for much at once."""
        self._socket.setblocking(False)
        self._view = memoryview(bytearray(CHUNK))

    def encrypt(self, data: bytes) -> bytes:
        """What goes over the wire for it."""
        if self._tls is None:
            return data
        with self._lock:
            view = memoryview(data)
            while view:
                view = view[self._tls.write(view) :]
            return self._outgoing.read()

    def send(self, data: bytes | memoryview) -> int:
        """Send what the socket takes now; how many bytes that was."""
        try:
            return int(self._socket.send(data))
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # The reader sees the end too, and says why.
            return len(data)

    def recv(self) -> bytes | None:
        """What has come; None if nothing has, empty at the end."""
        try:
            # Not `socket.recv`, which cuts each answer's memory off a whole chunk: the rests between what
            # lives longer grew without end.
            data = bytes(self._view[: self._socket.recv_into(self._view)])
        except (BlockingIOError, InterruptedError):
            return None
        if self._tls is None:
            return data
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
            parts = []
            try:
                while part := self._tls.read(CHUNK):
                    parts.append(part)
            except ssl.SSLWantReadError:
                return b"".join(parts) or None
            except ssl.SSLError:
                return b"".join(parts)
            return b"".join(parts)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return int(self._socket.fileno())

    def close(self) -> None:
        """Let go of the socket."""
        try:
            self._socket.close()
        except OSError:
            return


def dial(host: str, port: int, timeout: float) -> Any:
    """Connect a socket that blocks for `timeout` seconds at most.

    Raises:
        OSError: nobody answers.
    """
    make = native.original("socket", "socket")
    problem: OSError | None = None
    for family, kind, protocol, place in places(host, port, time.monotonic() + timeout):
        made = make(family, kind, protocol)
        try:
            made.settimeout(timeout)
            watch(made)
            made.connect(place)
            return made
        except OSError as error:
            made.close()
            problem = error
    raise problem or OSError("the name has no address")
