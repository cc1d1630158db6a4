"""What a connection has to send: what the socket takes now goes at once, the rest when it takes more."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from greenq.amqp.transport import Transport

__all__ = ["Outlet"]


class Outlet:
    """Every method is called under the connection's lock.

    Parameters:
        ring: wakes the thread that calls `flush`, once something waits.

    Attributes:
        rest: what the socket did not take.
        waiting: how many bytes that is.
        sent: when something was sent last, on the monotonic clock.
    """

    def __init__(self, transport: Transport, ring: Callable[[], None]) -> None:
        self.transport = transport
        self.rest: deque[memoryview] = deque()
        self.waiting = 0
        self.sent = time.monotonic()
        self._ring = ring

    def write(self, data: bytes) -> None:
        """Send it, after what waits."""
        transport = self.transport
        self.sent = time.monotonic()
        if transport.put is None:
            data = transport.encrypt(data)
        if self.rest:
            self.keep(memoryview(data))
            return
        sent = transport.send(data)
        if sent < len(data):
            self.keep(memoryview(data)[sent:])
            self._ring()

    def keep(self, data: memoryview) -> None:
        """Send it later."""
        self.rest.append(data)
        self.waiting += len(data)

    def flush(self) -> None:
        """Send what waits, as much as the socket takes."""
        while self.rest:
            some = self.rest[0]
            sent = self.transport.send(some)
            self.waiting -= sent
            if sent:
                self.sent = time.monotonic()
            if sent < len(some):
                self.rest[0] = some[sent:]
                break
            self.rest.popleft()
