"""TLS over any socket: it encrypts in memory, so that plain, gevent's and eventlet's sockets all do."""

from __future__ import annotations

import ssl
import time
from typing import Any

from greenq.tls import Tls, context_of
from pools import native

__all__ = ["TlsSocket"]

CHUNK = 65536


class TlsSocket:
    """Looks like the socket that it wraps, as far as `Link` needs one.

    Parameters:
        socket: connected; the handshake is done here.
        hostname: of the server, for the certificate's check.
        deadline: of the handshake, on the monotonic clock.

    Raises:
        ConfigError: a file of certificates cannot be read.
        ssl.SSLError, OSError: the handshake failed.
    """

    def __init__(self, socket: Any, tls: Tls, hostname: str, deadline: float) -> None:
        self._socket = socket
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._lock = native.Lock()
        context = context_of(tls)
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=hostname if context.check_hostname else None
        )
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError
            try:
                self._object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._pull()
        self._flush()

    def send(self, data: bytes) -> int:
        """As `sendall`; how much it was."""
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Encrypt and send everything."""
        view = memoryview(data)
        # Held while sending: what two threads encrypted must leave in that order. Green threads never meet
        # here, as a link with a green socket has one user at a time.
        with self._lock:
            while view:
                view = view[self._object.write(view) :]
            self._socket.sendall(self._outgoing.read())

    def recv(self, size: int) -> bytes:
        """Wait for data and decrypt it; empty at the end."""
        while True:
            try:
                with self._lock:
                    return bytes(self._object.read(size))
            except ssl.SSLWantReadError:
                self._flush()
                if not self._pull():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    def settimeout(self, seconds: float) -> None:
        """Bound the following calls."""
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        """The descriptor of the socket below."""
        return int(self._socket.fileno())

    def shutdown(self, how: int) -> None:
        """End the connection below; whoever waits in `recv` goes on."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """Close the socket below."""
        self._socket.close()

    def _flush(self) -> None:
        with self._lock:
            encrypted = self._outgoing.read()
            if encrypted:
                self._socket.sendall(encrypted)

    def _pull(self) -> bool:
        data = self._socket.recv(CHUNK)
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        return bool(data)
