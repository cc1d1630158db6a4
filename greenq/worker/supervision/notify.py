"""Tells systemd how the command is: up, reloading, stopping, and that its loop still turns.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notify"]

MICROSECONDS = 1_000_000


class Notify:
    """Sends what has changed to the socket that the environment names; without one it does nothing.

    Parameters:
        environ: has ``NOTIFY_SOCKET``, and perhaps ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        self._every = _watchdog(environ) if self._address else 0.0
        self._beat_at = 0.0
        self._state = ""
        self._status = ""

    @property
    def due(self) -> list[float]:
        """When `beat` must be called again, on the clock of `time.monotonic()`."""
        return [self._beat_at] if self._every else []

    def beat(self) -> None:
        """Say, as often as is asked for, that the loop turns."""
        now = time.monotonic()
        if self._every and now >= self._beat_at:
            self._beat_at = now + self._every
            self._send("WATCHDOG=1")

    def ready(self, status: str) -> None:
        """All workers are up, or those that were to be replaced have been."""
        self._become("READY=1", status)

    def reloading(self, status: str) -> None:
        """Workers are being replaced because SIGHUP asked for it."""
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._become("RELOADING=1", status, f"MONOTONIC_USEC={stamp}")

    def stopping(self, status: str, patience: float) -> None:
        """The command ends, within `patience` seconds."""
        self._become("STOPPING=1", status, f"EXTEND_TIMEOUT_USEC={int(patience * MICROSECONDS)}")

    def status(self, status: str) -> None:
        """How it is, in a line for people."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def _become(self, state: str, status: str, *more: str) -> None:
        if state == self._state:
            self.status(status)
            return
        self._state, self._status = state, status
        self._send("\n".join((state, *more, f"STATUS={status}")))

    def _send(self, text: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), self._address)
            except OSError:
                # Nobody listens, or not now: work does not stop for that. What matters is said again.
                self._state = self._status = ""

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()


def _address(name: str) -> str:
    """The socket's address as Python has it; empty for none that can be used."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else ""


def _watchdog(environ: Mapping[str, str]) -> float:
    """Seconds between signs of life: half of what systemd waits; 0 if it waits for none of ours."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / MICROSECONDS / 2 if text.isascii() and text.isdigit() else 0.0
