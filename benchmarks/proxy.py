"""A network of some length: what goes through arrives later, in order, at full rate.

``python -m benchmarks.proxy TARGET SECONDS`` listens on a free port, which it prints, and passes bytes on to
``host:port`` and back, each after so many seconds. ``python -m benchmarks.proxy`` measures its own limits.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from benchmarks.place import ROOT, Failed

__all__ = ["delaying", "limits"]

PIECE = 1 << 18
BACKLOG = 2000
HELD = 64 << 20
"""Bytes on their way to one side, above which no more is read from the other."""


class End:
    """One side of a connection.

    Parameters:
        connection: does not block.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.other: End = self
        self.reading = True
        self.watched = 0
        self.coming = 0
        """Bytes that are on their way to it."""
        self._late = bytearray()

    def take(self) -> bytes:
        """Read a piece; empty at the end."""
        try:
            piece = self.connection.recv(PIECE)
        except BlockingIOError:
            return b""
        except OSError:
            piece = b""
        if not piece:
            self.reading = False
        return piece

    def give(self, piece: bytes) -> None:
        """Pass on what is due, and as much of what could not be written before as can be now."""
        if not self._late:
            piece = piece[self._send(piece) :]
        self._late += piece
        while self._late and (sent := self._send(bytes(self._late[:PIECE]))):
            del self._late[:sent]
        if not self._late and not self.other.reading and not self.coming:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)

    def _send(self, piece: bytes) -> int:
        try:
            sent = self.connection.send(piece) if piece else 0
        except BlockingIOError:
            return 0
        except OSError:
            # Nobody is there any more: what is on its way to them is dropped, here and when it is due.
            self.reading = self.other.reading = False
            sent = len(piece)
        self.coming -= sent
        return sent

    @property
    def over(self) -> bool:
        """Whether nothing comes from it and nothing is on its way to it."""
        return not self.reading and not self.coming

    @property
    def wanted(self) -> int:
        """The events that it waits for."""
        read = self.reading and self.other.coming < HELD
        return (select.EPOLLIN if read else 0) | (select.EPOLLOUT if self._late else 0)


class Proxy:
    """Passes on what clients and a server say to each other.

    Parameters:
        address: of the server.
        delay: seconds.
    """

    def __init__(self, address: tuple[str, int], delay: float) -> None:
        self._address = address
        self._delay = delay
        self._events = select.epoll()
        self._ends: dict[int, End] = {}
        # All wait equally long, so what is due first is the one that came first.
        self._line: deque[tuple[float, End, bytes]] = deque()

    def run(self) -> None:
        """Do so for ever; says first where."""
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as server:
            print(server.getsockname()[1], flush=True)
            self._events.register(server, select.EPOLLIN)
            while True:
                # epoll itself waits for whole milliseconds only.
                left = max(0.0, self._line[0][0] - time.monotonic()) if self._line else None
                select.select([self._events], [], [], left)
                for number, _ in self._events.poll(0):
                    if number == server.fileno():
                        self._connect(server.accept()[0])
                    elif (end := self._ends.get(number)) is not None:
                        self._serve(end)
                while self._line and self._line[0][0] <= time.monotonic():
                    _, end, piece = self._line.popleft()
                    end.give(piece)
                    self._watch(end)
                    self._watch(end.other)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address)
        except OSError:
            client.close()
            return
        one, other = End(client), End(server)
        one.other, other.other = other, one
        for end in (one, other):
            end.connection.setblocking(False)
            end.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends[end.connection.fileno()] = end
            self._watch(end)

    def _serve(self, end: End) -> None:
        end.give(b"")
        if end.reading:
            piece = end.take()
            if piece or not end.reading:
                end.other.coming += len(piece)
                self._line.append((time.monotonic() + self._delay, end.other, piece))
        self._watch(end)
        self._watch(end.other)

    def _watch(self, end: End) -> None:
        wanted = end.wanted
        if end.connection.fileno() >= 0 and wanted != end.watched:
            if not wanted:
                self._events.unregister(end.connection)
            elif end.watched:
                self._events.modify(end.connection, wanted)
            else:
                self._events.register(end.connection, wanted)
            end.watched = wanted
        if end.over and end.other.over:
            for one in (end, end.other):
                self._ends.pop(one.connection.fileno(), None)
                one.connection.close()


@contextmanager
def delaying(url: str, seconds: float) -> Iterator[str]:
    """Run it before a server; gives the address through it.

    Parameters:
        url: the address of the server.
        seconds: how much later bytes arrive, in each direction.
    """
    parts = urlsplit(url)
    target = f"{parts.hostname}:{parts.port}"
    command = [sys.executable, "-m", "benchmarks.proxy", target, str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            port = proxy.stdout.readline().strip()
            if not port:
                raise Failed("the delaying proxy did not start")
            account, at, _ = parts.netloc.rpartition("@")
            yield urlunsplit(parts._replace(netloc=f"{account}{at}127.0.0.1:{port}"))
        finally:
            proxy.kill()


def limits(seconds: float = 1.0) -> dict[str, float]:
    """Measure what it lets through without delay: ``mib`` each second one way, ``turns`` there and back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        with (
            delaying(f"tcp://127.0.0.1:{port}", 0.0) as url,
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client,
        ):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            turns, until = 0, time.monotonic() + seconds
            while time.monotonic() < until:
                client.sendall(b"?")
                client.recv(1)
                turns += 1
            sent, block, until = 0, bytes(PIECE), time.monotonic() + seconds
            while time.monotonic() < until:
                client.sendall(block)
                left = len(block)
                while left:
                    left -= len(client.recv(left))
                sent += len(block)
    return {"turns": turns / seconds, "mib": sent / seconds / 1024 / 1024}


def _echo(server: socket.socket) -> None:
    with suppress(OSError):
        client, _ = server.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while piece := client.recv(PIECE):
            client.sendall(piece)


if __name__ == "__main__":
    if sys.argv[1:]:
        host, _, number = sys.argv[1].rpartition(":")
        Proxy((host, int(number)), float(sys.argv[2])).run()
    else:
        found = limits()
        print(f"{found['turns']:,.0f} turns and {found['mib']:,.0f} MiB a second there and back")
