"""Find a node that answers and agree with it on user, virtual host, frame size and heartbeat."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from struct import unpack_from
from typing import Any

from greenq.amqp import methods
from greenq.amqp.address import Address
from greenq.amqp.failures import Failure, Unreachable, refusal
from greenq.amqp.frames import Assembler
from greenq.amqp.transport import Transport, dial
from greenq.tls import reason

__all__ = ["Tuned", "greet"]

HEADER = b"AMQP\0\0\x09\x01"
LARGEST_FRAME = 131_072


@dataclass(slots=True)
class Tuned:
    """What was agreed.

    Parameters:
        heartbeat: seconds; 0 for none.
        channels: the most that may be open at once.
        rest: what came after it.
    """

    frame_size: int
    heartbeat: float
    channels: int = 2047
    rest: bytes = b""


def greet(address: Address, first: int, name: str) -> tuple[Transport, Tuned]:
    """Connect to the first node that answers, beginning with number `first`.

    Raises:
        Failure: none does, or all refuse.
    """
    problems = []
    refused: Failure | None = None
    for turn in range(len(address.nodes)):
        host, port = address.nodes[(first + turn) % len(address.nodes)]
        try:
            transport = Transport(dial(host, port, address.connect_timeout), address.tls, host)
        except (OSError, ssl.SSLError) as error:
            problems.append(f"nobody answers at {host}:{port}: {reason(error)}")
            continue
        try:
            handshake = _Handshake(address, transport, name)
            try:
                return transport, handshake.run()
            finally:
                handshake.end()
        except Failure as error:
            refused = error.with_traceback(None)  # which has this frame, and with it the socket
            problems.append(f"{host}:{port}: {error}")
        except (OSError, ssl.SSLError) as error:
            problems.append(f"{host}:{port}: {reason(error)}")
        transport.close()
    raise Unreachable("; ".join(problems)) from refused


class _Handshake:
    """Runs in the connection's thread, on a socket that still blocks."""

    def __init__(self, address: Address, transport: Transport, name: str) -> None:
        self._address = address
        self._transport = transport
        self._name = name
        self._assembler = Assembler(self._take)
        self._done = False
        self._tuned = Tuned(LARGEST_FRAME, 0.0)

    def run(self) -> Tuned:
        """Take part until the connection is open."""
        deadline = time.monotonic() + self._address.connect_timeout
        self._transport.exchange(HEADER)
        while not self._done:
            if time.monotonic() > deadline:
                raise TimeoutError
            data = self._transport.recv()
            if data is None:
                continue
            if not data:
                raise Unreachable(
                    "it ended the connection: check the user and its password, and that this is an AMQP port"
                )
            self._assembler.feed(data)
        self._transport.go_on()
        return self._tuned

    def end(self) -> None:
        """Let go of what refers to it."""
        self._assembler.end()

    def _take(self, channel: int, method: int, payload: bytes, header: bytes, body: bytes) -> None:
        if method == methods.START:
            self._start(*methods.read_start(payload))
        elif method == methods.TUNE:
            self._tune(*unpack_from(">HIH", payload, 4))
        elif method == methods.OPEN_OK:
            self._done = True
        elif method == methods.CLOSE:
            raise Unreachable(str(refusal(*methods.read_close(payload))))
        else:
            raise Unreachable("it speaks another AMQP than 0-9-1")

    def _start(self, properties: dict[str, Any], mechanisms: list[str]) -> None:
        address = self._address
        mechanism = "EXTERNAL" if address.external else "PLAIN"
        if mechanism not in mechanisms:
            raise Unreachable(f"it does not offer the login {mechanism}, but {', '.join(mechanisms)}")
        response = b"" if address.external else f"\0{address.user}\0{address.password}".encode()
        about = {
            "product": "greenq",
            "version": _version(),
            "connection_name": self._name,
            "capabilities": {
                "authentication_failure_close": True, "connection.blocked": True,
                "consumer_cancel_notify": True, "publisher_confirms": True, "basic.nack": True,
            },
        }  # fmt: skip
        self._transport.exchange(methods.start_ok(about, mechanism, response))

    def _tune(self, channels: int, frame_size: int, heartbeat: int) -> None:
        tuned = self._tuned
        if frame_size:
            tuned.frame_size = min(frame_size, LARGEST_FRAME)
        tuned.channels = min(channels or 2047, 2047)
        wanted = self._address.heartbeat
        # Whoever gives none leaves it to the other; 0 in the address turns them off.
        seconds = int(min(wanted, heartbeat) if wanted and heartbeat else wanted)
        tuned.heartbeat = float(seconds)
        self._transport.exchange(
            methods.tune_ok(tuned.channels, tuned.frame_size, seconds)
            + methods.open_connection(self._address.vhost)
        )


@cache
def _version() -> str:
    try:
        return version("greenq")
    except PackageNotFoundError:
        return "unknown"
