"""The tasks that every system runs: the same few instructions in each.

This module runs in the peers' environments: it needs the standard library only. Names are looked up when a
task runs, so that it waits as its process waits, monkey-patched or not.
"""

from __future__ import annotations

import os
import socket
import time
from functools import cache
from typing import Any

from benchmarks.ledger import tick

__all__ = [
    "NAMES",
    "PORT",
    "SECONDS",
    "SIZE",
    "TICKS",
    "arguments",
    "carry",
    "fetch",
    "noop",
    "payload",
    "sleep",
]

SECONDS = "BENCHMARKS_SECONDS"
PORT = "BENCHMARKS_PORT"
SIZE = "BENCHMARKS_SIZE"
NAMES = ("noop", "sleep", "fetch", "carry")
TICKS = {"noop": 1, "sleep": 2, "fetch": 2, "carry": 1}
"""How often each writes down the time: those that wait do it when they begin and when they end."""
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def noop() -> None:
    """Do nothing."""
    tick()


def sleep(duration: float) -> None:
    """Wait for so many seconds."""
    tick()
    time.sleep(duration)
    tick()


def fetch(port: int) -> None:
    """Get a page from the HTTP server on a local port."""
    tick()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    check(answer)
    tick()


def carry(payload: str) -> None:
    """Take a large argument."""
    if len(payload) != int(os.environ[SIZE]):
        raise ValueError(f"{len(payload)} characters arrived of {os.environ[SIZE]}")
    tick()


def check(answer: bytes) -> None:
    """Raise unless it is a whole answer of `benchmarks.httpserver`."""
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"</html>\n"):
        raise ValueError(f"not the page that was asked for: {answer[:80]!r}")


def arguments(task: str) -> dict[str, Any]:
    """Give what a call of it is sent with."""
    if task == "sleep":
        return {"duration": float(os.environ[SECONDS])}
    if task == "fetch":
        return {"port": int(os.environ[PORT])}
    if task == "carry":
        return {"payload": payload(int(os.environ[SIZE]))}
    return {}


@cache
def payload(size: int) -> str:
    """Give so many characters, neither all alike nor random: they compress about as text does."""
    return "".join(f"{number:08x}" for number in range(size // 8 + 1))[:size]
