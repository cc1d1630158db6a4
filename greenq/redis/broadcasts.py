"""Hear broadcasts: what is published on an exchange's channel goes to a list of this node's own."""

from __future__ import annotations

import logging
import os
import time
from collections import deque

from greenq.redis.address import Address
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.exchanges import Exchanges
from greenq.redis.failures import Closed, Failure, Late, refusal
from greenq.redis.keys import Keys
from greenq.redis.link import Link
from greenq.redis.opening import open_link
from greenq.redis.resp import PUSHES, ReplyError, pack
from pools import native

__all__ = ["Listener"]

log = logging.getLogger("greenq.broadcasts")

CONNECT_WITHIN = 5.0
LOOK_EVERY = 5.0
"""Seconds of silence after which it asks whether the server is still there."""
PAUSE_FIRST, PAUSE_MOST = 0.05, 2.0
"""Seconds between attempts to connect again: doubled each time, up to the most."""


class Listener:
    """Listens in a native thread of its own, so that a busy hub misses nothing.

    What is sent while the connection is lost is not heard: the server keeps nothing for anybody.
    """

    def __init__(self, address: Address, keys: Keys, exchanges: Exchanges) -> None:
        self._address = address
        self._keys = keys
        self._exchanges = exchanges
        self.pid = os.getpid()
        self._queues: dict[str, str] = {}
        """By pattern of channels, the queue that they go to."""
        self._confirmed: set[str] = set()
        self._heard: deque[tuple[str, bytes]] = deque()
        self._changed = native.Signal()
        self._link: Link | None = None
        self._out: Link | None = None
        self._running = False
        self._closed = False

    def listen(self, exchange: str, queue: str, deadline: float) -> None:
        """Put what is broadcast on an exchange into a queue from now on.

        Raises:
            Late: the server did not confirm it.
        """
        channel = _literal(self._exchanges.topic(exchange))
        patterns = [channel, f"{channel}/*"]
        self._queues.update(dict.fromkeys(patterns, queue))
        if not self._running:
            self._running = True
            native.start(self._run, "greenq-broadcasts")
        elif self._link is not None:
            self._link.interrupt()  # it subscribes to all when it connects again
        while not self._confirmed.issuperset(patterns):
            self._changed = native.Signal()
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                raise Late("the server did not confirm a subscription in time", uncertain=False)
            self._changed.wait(min(left, 0.05))

    def close(self) -> None:
        """End the connection and the thread. Idempotent."""
        self._closed = True
        link = self._link
        if link is not None and self.pid == os.getpid():
            link.interrupt()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        pause = PAUSE_FIRST
        while not self._closed:
            try:
                link = self._link = open_link(self._address, time.monotonic() + CONNECT_WITHIN, off_hub=True)
                try:
                    link.send(pack("PSUBSCRIBE", *self._queues), time.monotonic() + CONNECT_WITHIN)
                    pause = PAUSE_FIRST
                    self._hear(link)
                finally:
                    self._link = None
                    self._confirmed.clear()
                    link.close()
            except Failure as error:
                if not self._closed:
                    log.warning("broadcasts are not heard, next attempt in %.2g s: %s", pause, error)
            except Exception:
                log.exception("the listener for broadcasts goes on after an error of its own")
            if not self._closed:
                native.Signal().wait(pause)
                pause = min(pause * 2, PAUSE_MOST)
        self._drop()

    def _hear(self, link: Link) -> None:
        silent = False
        while not self._closed:
            self._deliver()
            try:
                reply = link.next(time.monotonic() + LOOK_EVERY)
            except Late:
                if silent:
                    raise
                silent = True
                link.send(pack("PING"), time.monotonic() + CONNECT_WITHIN)
                continue
            silent = False
            if type(reply) in PUSHES or isinstance(reply, list):
                kind = reply[0]
                if kind == b"psubscribe":
                    self._confirmed.add(reply[1].decode())
                    self._changed.set()
                elif kind == b"pmessage":
                    queue = self._queues.get(reply[1].decode())
                    if queue is not None:
                        self._heard.append((queue, reply[3]))
        raise Closed("it was closed")

    def _deliver(self) -> None:
        """Put what was heard on the lists; what can't be put now stays for the next time."""
        while self._heard:
            queue, raw = self._heard[0]
            if self._out is None:
                self._out = open_link(self._address, time.monotonic() + CONNECT_WITHIN, off_hub=True)
            try:
                name = self._keys.list_of(queue, _priority(queue, raw))
                reply = self._out.call([("LPUSH", name, raw)], time.monotonic() + CONNECT_WITHIN)[0]
                if type(reply) is ReplyError:
                    raise refusal(str(reply))
            except Failure:
                self._drop()
                raise
            self._heard.popleft()

    def _drop(self) -> None:
        out, self._out = self._out, None
        if out is not None:
            out.close()


def _literal(channel: str) -> str:
    """A channel's name as a pattern that fits it alone."""
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in channel)


def _priority(queue: str, raw: bytes) -> int:
    try:
        return unpack(queue, raw).priority
    except Unreadable:
        return 0  # it becomes a dead letter when it is fetched
