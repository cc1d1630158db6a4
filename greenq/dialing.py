"""Find and watch the other end of a connection: no look-up and no silent network may take for ever."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

from pools import native

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # not every system can tell
    ioctl = None  # type: ignore[assignment]

__all__ = ["Place", "places", "unsent", "watch"]

Place = tuple[int, int, int, Any]
"""Family, kind, protocol and address, as `socket.socket` and `connect` take them."""

ASK_AFTER, ASK_EVERY, ASK_TIMES = 4, 1, 3
"""Seconds of silence after which the kernel asks the other machine whether it is there, and how often."""


class _Lookup:
    """One question to the resolver, which knows no deadline: it is asked in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.answer: list[Place] = []
        self.error: OSError | None = None
        self.ended = native.Signal()
        self._host = host
        self._port = port

    def start(self) -> None:
        """Ask."""
        native.start(self._ask, "greenq-resolver")

    def _ask(self) -> None:
        try:
            self.answer = _resolve(self._host, self._port, 0)
        except OSError as error:
            self.error = error
        finally:
            _lookups.pop((self._host, self._port), None)
            self.ended.set()


_lookups: dict[tuple[str, int], _Lookup] = {}
"""Those under way: whoever asks the same meanwhile waits for the same, or threads would pile up."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lookups.clear)


def _resolve(host: str, port: int, flags: int) -> list[Place]:
    try:
        found = native.original("socket", "getaddrinfo")(host, port, 0, socket.SOCK_STREAM, 0, flags)
    except UnicodeError:
        raise OSError("no host can have this name") from None
    return [(family, kind, protocol, place) for family, kind, protocol, _, place in found]


def places(host: str, port: int, deadline: float) -> list[Place]:
    """Look a host up, waiting as the caller's world waits.

    Parameters:
        deadline: on the monotonic clock.

    Raises:
        OSError: there is no such host, or nobody said so in time.
    """
    try:
        return _resolve(host, port, socket.AI_NUMERICHOST)
    except OSError:
        pass
    fresh = _Lookup(host, port)
    lookup = _lookups.setdefault((host, port), fresh)
    if lookup is fresh:
        lookup.start()
    if not lookup.ended.wait(max(0.0, deadline - time.monotonic())):
        raise TimeoutError
    if lookup.error is not None:
        raise lookup.error
    if not lookup.answer:
        raise OSError("the name has no address")
    return lookup.answer


def watch(connected: Any) -> None:
    """Let the kernel end an idle connection whose other machine is gone, in seconds instead of hours.

    Not by TCP_USER_TIMEOUT: that ends those, too, whose server is alive and takes nothing for a while.
    """
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", ASK_AFTER), ("TCP_KEEPINTVL", ASK_EVERY), ("TCP_KEEPCNT", ASK_TIMES),
    ):  # fmt: skip
        option = getattr(socket, name, None)
        if option is not None:  # not every system has them
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def unsent(descriptor: int) -> int:
    """How many bytes the other machine has not confirmed; 0 where that cannot be told."""
    if ioctl is None:
        return 0
    try:
        return int.from_bytes(ioctl(descriptor, TIOCOUTQ, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # it is closed
        return 0
