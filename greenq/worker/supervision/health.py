"""Answers GET /live and /ready over HTTP, from the supervisor's own loop.

It never waits for a client: sockets don't block, a connection gets little time and little room, and when
there are too many the oldest makes room for the newest.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import socket
import stat
import time
from collections.abc import Callable
from typing import Any

from greenq.errors import ConfigError

__all__ = ["Health", "address_of"]

MOST_CONNECTIONS = 32
CLIENT_TIME = 5.0
"""Seconds that a connection may live."""
AGAIN_AFTER = 1.0
"""Seconds without listening when no connection can be accepted."""
LONGEST_REQUEST = 8 * 1024
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]\Z")
BEGINNING = re.compile(rb"[A-Z]{0,16}(?: .*)?\Z", re.DOTALL)
"""Of what may become one."""

Answer = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether all is well, and what to show."""


class Health:
    """Listens from the start; answers once it is attached to a loop.

    Parameters:
        place: ``host:port``, ``[address]:port``, or the path of a Unix socket.
        answers: by path, such as ``/live``.

    Raises:
        ConfigError: nothing can listen there.
    """

    def __init__(self, place: str, answers: dict[str, Answer]) -> None:
        self._answers = answers
        self._path = ""
        self._selector: selectors.BaseSelector | None = None
        self._connections: dict[Connection, None] = {}
        self._again_at: float | None = None
        family, address = address_of(place)
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family == socket.AF_UNIX:
                clear(str(address))
            else:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(MOST_CONNECTIONS)
        except OSError as error:
            self._listener.close()
            raise ConfigError(
                f"worker.health: can't listen on {place} ({error.strerror}): is another worker using it? "
                "Say another place with --health"
            ) from error
        if family == socket.AF_UNIX:
            self._path = str(address)
        self._listener.setblocking(False)

    @property
    def address(self) -> Any:
        """Where it listens, as the system says it."""
        return self._listener.getsockname()

    def attach(self, selector: selectors.BaseSelector) -> None:
        """Let the owner of `selector`, who calls what is registered as data, serve."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    @property
    def due(self) -> list[float]:
        """When `tidy` must be called, on the clock of `time.monotonic()`."""
        due = [connection.until for connection in self._connections][:1]
        return due if self._again_at is None else [*due, self._again_at]

    def tidy(self) -> None:
        """End the connections that have lived too long, and listen again after a pause."""
        now = time.monotonic()
        if self._again_at is not None and self._again_at <= now:
            assert self._selector is not None
            self._again_at = None
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        for connection in list(self._connections):
            if connection.until > now:
                return  # they are in the order of their age
            self._drop(connection)

    def close(self) -> None:
        """Listen no more. Idempotent."""
        for connection in list(self._connections):
            self._drop(connection)
        if self._listener.fileno() >= 0:
            if self._selector is not None and self._again_at is None:
                self._selector.unregister(self._listener)
            self._listener.close()
            if self._path:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)

    def _accept(self) -> None:
        assert self._selector is not None
        if len(self._connections) >= MOST_CONNECTIONS:
            self._drop(next(iter(self._connections)))
        try:
            client, _ = self._listener.accept()
        except OSError:
            # It went away again, or no more files may be opened: then the oldest makes room too.
            if self._connections:
                self._drop(next(iter(self._connections)))
            else:
                # Who waits there would be reported again at once, and again: a loop that never rests.
                self._selector.unregister(self._listener)
                self._again_at = time.monotonic() + AGAIN_AFTER
            return
        client.setblocking(False)
        connection = Connection(client, self._answer)
        self._connections[connection] = None
        self._selector.register(client, selectors.EVENT_READ, lambda: self._serve(connection))

    def _serve(self, connection: Connection) -> None:
        # Dropped in this very turn, by one that needed its room.
        if connection in self._connections and not connection.go_on():
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        assert self._selector is not None
        del self._connections[connection]
        self._selector.unregister(connection.client)
        connection.client.close()

    def _answer(self, path: str) -> tuple[int, dict[str, Any]]:
        answer = self._answers.get(path.partition("?")[0])
        if answer is None:
            return 404, {"error": f"there are {' and '.join(self._answers)}"}
        well, shown = answer()
        return (200 if well else 503), shown


class Connection:
    """One client: its request is collected, answered once, and the rest of what it says is dropped.

    Parameters:
        client: its socket.
        answer: gives the status and what to show for a path.
    """

    def __init__(self, client: socket.socket, answer: Callable[[str], tuple[int, dict[str, Any]]]) -> None:
        self.client = client
        self.until = time.monotonic() + CLIENT_TIME
        self._answer = answer
        self._received = b""
        self._answered = False

    def go_on(self) -> bool:
        """Read what has come, and answer if that is enough; False once the connection is done."""
        try:
            data = self.client.recv(LONGEST_REQUEST)
            if not data:
                return False
            if self._answered:
                return True
            self._received += data
            response = self._respond()
            if response:
                self._answered = True
                self.client.sendall(response)  # less than any socket's buffer
                # Closed at once, what the client still sends would take the answer away from it.
                self.client.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return not self._answered
        except OSError:
            return False
        return True

    def _respond(self) -> bytes:
        """The response, or nothing while the request is not complete."""
        received = self._received.replace(b"\r\n", b"\n")
        first, whole, _ = received.partition(b"\n")
        line = REQUEST_LINE.match(first)
        if not BEGINNING.match(first) or (whole and not line):
            return response(400, {"error": "this is no HTTP request"})
        if len(self._received) > LONGEST_REQUEST:
            return response(431, {"error": f"a request has at most {LONGEST_REQUEST} bytes"})
        if line is None or b"\n\n" not in received:
            return b""
        method, path = line[1].decode(), line[2].decode()
        if method not in ("GET", "HEAD"):
            return response(405, {"error": "only GET and HEAD"}, "Allow: GET, HEAD\r\n")
        status, shown = self._answer(path)
        return response(status, shown, body=method == "GET")


def response(status: int, shown: dict[str, Any], more: str = "", body: bool = True) -> bytes:
    """A whole HTTP response.

    Parameters:
        shown: what the body says.
        more: further header lines.
        body: False for HEAD, which gets the head of the same response.
    """
    data = json.dumps(shown).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\nCache-Control: no-store\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode() + (data if body else b"")


def address_of(place: str) -> tuple[socket.AddressFamily, Any]:
    """What `worker.health` means.

    Returns:
        The family, and the address to bind.

    Raises:
        ConfigError: it is neither ``host:port`` nor a path.
    """
    if "/" in place:
        return socket.AF_UNIX, place.removeprefix("unix:")
    host, colon, port = place.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigError(
            f"worker.health: {place!r} is no place to listen: say host:port, such as 127.0.0.1:8000, or the "
            "path of a Unix socket"
        )
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"worker.health: {host} is no address of this machine ({error.strerror})"
        ) from error
    family, _, _, _, address = found[0]
    return family, address


def clear(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more; leave everything else to whoever binds."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.settimeout(1.0)
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
