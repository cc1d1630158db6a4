"""A proxy that does to connections what networks do: late, swallowed, cut short, reset, refused."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["FaultProxy"]

AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends a reset instead of a goodbye."""
CHUNK = 262_144
TURN = 0.05
"""Seconds that the loop sleeps at most."""
PATIENCE = 30.0


class FaultProxy:
    """Stands between clients and one server, on a port of its own, and fails when told to.

    One thread owns all sockets: a socket that another thread reads can't be reset.

    Parameters:
        port: of the server.

    Attributes:
        port: where clients connect to.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.delayed = 0.0
        self.swallows = False
        self.cut_after: int | None = None
        self._pairs: set[_Pair] = set()
        self._ends: dict[socket.socket, _Pair] = {}
        self._selector = selectors.DefaultSelector()
        self._calls: deque[tuple[Callable[[], object], threading.Event]] = deque()
        self._bell, self._ear = socket.socketpair()
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────

    def delay(self, seconds: float) -> None:
        """Let everything take so much longer, each way."""
        self.delayed = seconds

    def swallow(self) -> None:
        """Be a black hole: sockets stay open, nothing passes, either way.

        A connection that lost a byte stays a hole when others pass again, as one does that a firewall forgot.
        """
        self.swallows = True

    def truncate(self, after: int) -> None:
        """End each connection in the middle of what passes next: after that many bytes."""
        self.cut_after = after

    def reset(self) -> None:
        """Reset every connection."""
        self._have(self._reset)

    def refuse(self) -> None:
        """Reset every connection and let nobody connect."""

        def shut() -> None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._reset()

        self._have(shut)

    def heal(self) -> None:
        """Let everything pass again."""
        self.delayed, self.swallows, self.cut_after = 0.0, False, None

        def reopen() -> None:
            if self._listener.fileno() < 0:
                self._listener = self._listen(self.port)

        self._have(reopen)

    def connections(self) -> int:
        """How many connections there are through it."""
        return len(self._pairs)

    def close(self) -> None:
        """End everything."""
        if not self._closed:
            self.refuse()
            self._closed = True
            self._bell.send(b"!")
            self._thread.join(PATIENCE)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────

    def _have(self, call: Callable[[], object]) -> None:
        """Have the owner of the sockets do something, and wait until it has."""
        done = threading.Event()
        self._calls.append((call, done))
        self._bell.send(b"!")
        assert done.wait(PATIENCE), "the proxy does not answer"

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=512)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def _run(self) -> None:
        while not self._closed:
            for key, events in self._selector.select(TURN if not self.delayed else 0.002):
                self._handle(key.fileobj, events)
            while self._calls:
                call, done = self._calls.popleft()
                call()
                done.set()
            if self.delayed or any(pair.waits() for pair in self._pairs):
                for pair in list(self._pairs):
                    self._flush(pair)
        self._selector.close()

    def _handle(self, source: Any, events: int) -> None:
        if source is self._ear:
            self._ear.recv(4096)
        elif source is self._listener:
            self._accept()
        elif source in self._ends:
            pair = self._ends[source]
            if events & selectors.EVENT_READ:
                self._read(pair, source)
            if pair in self._pairs:
                self._flush(pair)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            server = socket.socket()
            try:
                server.connect(("127.0.0.1", self.target))
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                client.close()
                server.close()
                return
            pair = _Pair(client, server)
            self._pairs.add(pair)
            for one in pair.ends:
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends[one] = pair
                self._selector.register(one, selectors.EVENT_READ)

    def _read(self, pair: _Pair, source: socket.socket) -> None:
        try:
            data = source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(pair)
            return
        pair.lost_some = pair.lost_some or self.swallows
        if pair.lost_some:
            return
        if self.cut_after is not None and len(data) > 1:
            with contextlib.suppress(OSError):
                pair.other(source).send(data[: max(1, min(self.cut_after, len(data) - 1))])
            self._end(pair)
            return
        pair.queues[pair.other(source)].append((time.monotonic() + self.delayed, memoryview(data)))

    def _flush(self, pair: _Pair) -> None:
        now = time.monotonic()
        for target, queue in pair.queues.items():
            try:
                while queue and queue[0][0] <= now:
                    due, data = queue[0]
                    sent = target.send(data)
                    if sent < len(data):
                        queue[0] = due, data[sent:]
                        break
                    queue.popleft()
            except BlockingIOError:
                pass
            except OSError:
                self._end(pair)
                return
            ready = bool(queue) and queue[0][0] <= now
            self._selector.modify(target, selectors.EVENT_READ | (selectors.EVENT_WRITE if ready else 0))

    def _reset(self) -> None:
        for pair in list(self._pairs):
            self._end(pair, reset=True)

    def _end(self, pair: _Pair, reset: bool = False) -> None:
        self._pairs.discard(pair)
        for one in pair.ends:
            self._ends.pop(one, None)
            self._selector.unregister(one)
            if reset:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            one.close()


class _Pair:
    """The two ends of one connection, and what is on its way to each."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = (client, server)
        self.queues: dict[socket.socket, deque[tuple[float, memoryview]]] = {client: deque(), server: deque()}
        self.lost_some = False

    def other(self, end: socket.socket) -> socket.socket:
        """The end that is not this one."""
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def waits(self) -> bool:
        """Whether something is on its way."""
        return any(self.queues.values())
