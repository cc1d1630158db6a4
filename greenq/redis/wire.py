"""The socket of a connection: bytes out and in, each call with its deadline."""

from __future__ import annotations

import errno
import ssl
import sys
import time
from typing import Any

from greenq.redis.failures import Late, Unreachable
from greenq.tls import reason

__all__ = ["GeventWire", "Wire", "wire_of"]

CHUNK = 262144


class Wire:
    """A connected socket of whatever kind: native, eventlet's, or one with TLS around it.

    Parameters:
        socket: the socket.
        where: its other end, for messages.
    """

    def __init__(self, socket: Any, where: str) -> None:
        self.socket = socket
        self._where = where

    def send(self, data: bytes, deadline: float) -> None:
        """Send everything until `deadline`, on the monotonic clock.

        Raises:
            Late, Unreachable: some of it may have arrived; the connection is of no more use.
        """
        try:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._put(data)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise self._lost(error, "takes nothing") from error

    def send_beside(self, data: bytes) -> None:
        """Send everything while another thread receives: its deadline stays as it is, and holds here, too.

        Raises:
            Late, Unreachable: some of it may have arrived; the connection is of no more use.
        """
        try:
            self._put(data)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise self._lost(error, "takes nothing") from error

    def _put(self, data: bytes) -> None:
        sent = self.socket.send(data)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def receive(self, deadline: float) -> bytes:
        """Wait until `deadline` for the next bytes, of which there is at least one.

        Raises:
            Late: nothing came.
            Unreachable: the connection is of no more use.
        """
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            data: bytes = self.socket.recv(CHUNK)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise self._lost(error, "does not answer") from error
        if not data:
            raise Unreachable(f"{self._where} ended the connection", True)
        return data

    def close(self) -> None:
        """Close the socket. Idempotent."""
        try:
            self.socket.close()
        except OSError:
            return

    def _lost(self, error: Exception, late: str) -> Late | Unreachable:
        if isinstance(error, TimeoutError):
            return Late(f"{self._where} {late}", True)
        return Unreachable(f"the connection to {self._where} was lost: {reason(error)}", True)


class GeventWire(Wire):
    """A connected socket of gevent.

    Where gevent bounds a wait it makes a dozen Python calls; with the hub's own watcher and timer it is one.
    """

    def __init__(self, socket: Any, where: str) -> None:
        super().__init__(socket, where)
        self._hub = socket.hub
        self._below = socket._sock  # the standard library's, which never blocks
        self._readable = self._hub.loop.io(socket.fileno(), 1)
        self._me = sys.modules["greenlet"].getcurrent

    def send(self, data: bytes, deadline: float) -> None:
        try:
            sent = self._below.send(data)
            if sent == len(data):
                return
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            raise self._lost(error, "takes nothing") from error
        super().send(data[sent:], deadline)

    def receive(self, deadline: float) -> bytes:
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                try:
                    data: bytes = self._below.recv(CHUNK)
                    break
                except (BlockingIOError, InterruptedError):
                    if self._readable is None:
                        raise OSError(errno.EBADF, "it was closed") from None
                timer = self._hub.loop.timer(left)
                timer.start(self._me().throw, TimeoutError)
                try:
                    self._hub.wait(self._readable)
                finally:
                    timer.stop()
                    timer.close()
        except (OSError, ValueError) as error:
            raise self._lost(error, "does not answer") from error
        if not data:
            raise Unreachable(f"{self._where} ended the connection", True)
        return data

    def close(self) -> None:
        readable, self._readable = self._readable, None
        if readable is not None:
            self._hub.cancel_wait(readable, OSError(errno.EBADF, "it was closed"), True)
        super().close()


def wire_of(socket: Any, where: str) -> Wire:
    """Take a connected socket as it is best used."""
    gevent = sys.modules.get("gevent.socket")
    if gevent is not None and type(socket) is gevent.socket:
        return GeventWire(socket, where)
    return Wire(socket, where)
