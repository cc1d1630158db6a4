"""Hear what is published on channels, in a native thread, so that a busy hub misses nothing."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable

from greenq.redis.address import Address
from greenq.redis.failures import Closed, Failure, Late
from greenq.redis.link import Link
from greenq.redis.opening import open_link
from greenq.redis.resp import PUSHES, ReplyError, pack
from pools import native

__all__ = ["CONNECT_WITHIN", "PatternListener", "literal"]

CONNECT_WITHIN = 5.0
LOOK_EVERY = 5.0
"""Seconds of silence after which it asks whether the server is still there."""
PAUSE_FIRST, PAUSE_MOST = 0.05, 2.0
"""Seconds between attempts to connect again: doubled each time, up to the most."""

Heard = Callable[[str, bytes], None]


class PatternListener:
    """Subscribes to patterns of channels, again after each lost connection.

    What is published while the connection is lost is not heard: the server keeps nothing for anybody.

    Parameters:
        what: it listens for, as its warnings and its thread name it.
        log: where it warns.
        between: called in its thread before it waits for the next message; a failure that it raises ends
            the connection, and the next one is made after a pause.
        ended: called in its thread at its end.

    Attributes:
        pid: of the process whose thread listens; a forked child has none.
    """

    def __init__(
        self,
        address: Address,
        what: str,
        log: logging.Logger,
        between: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._what = what
        self._log = log
        self._between = between
        self._ended = ended
        self.pid = os.getpid()
        self._heard: dict[str, Heard] = {}
        self._confirmed: set[str] = set()
        self._changed = native.Signal()
        self._link: Link | None = None
        self._running = False
        self._closed = False

    def listen(self, patterns: Iterable[str], heard: Heard, deadline: float) -> None:
        """Hear from now on what is published on these.

        Parameters:
            heard: called in the listener's thread with the channel and what was published there.

        Raises:
            Late: the server did not confirm it until `deadline`; it goes on trying.
        """
        wanted = dict.fromkeys(patterns, heard)
        self._heard.update(wanted)
        if not self._running:
            self._running = True
            native.start(self._run, f"greenq-{self._what.replace(' ', '-')}")
        elif (link := self._link) is not None:
            try:
                link.send(pack("PSUBSCRIBE", *wanted), time.monotonic() + CONNECT_WITHIN)
            except Failure:
                link.interrupt()  # it subscribes to all when it connects again
        while not self._confirmed.issuperset(wanted):
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
                    link.send(pack("PSUBSCRIBE", *self._heard), time.monotonic() + CONNECT_WITHIN)
                    self._hear(link)
                finally:
                    self._link = None
                    if self._confirmed:
                        pause = PAUSE_FIRST
                    self._confirmed.clear()
                    link.close()
            except Failure as error:
                if not self._closed:
                    self._log.warning("%s: not heard, next attempt in %.2g s: %s", self._what, pause, error)
            except Exception:
                self._log.exception("%s: listening goes on after an error of its own", self._what)
            if not self._closed:
                native.Signal().wait(pause)
                pause = min(pause * 2, PAUSE_MOST)
        self._ended()

    def _hear(self, link: Link) -> None:
        silent = False
        while not self._closed:
            self._between()
            try:
                reply = link.next(time.monotonic() + LOOK_EVERY)
            except Late:
                if silent:
                    raise
                silent = True
                link.send(pack("PING"), time.monotonic() + CONNECT_WITHIN)
                continue
            silent = False
            if isinstance(reply, ReplyError):
                raise Failure(f"the server refuses to let us listen: {reply}")
            if type(reply) in PUSHES or isinstance(reply, list):
                self._take(reply)
        raise Closed("it was closed")

    def _take(self, push: list[bytes]) -> None:
        if push[0] == b"psubscribe":
            self._confirmed.add(push[1].decode())
            self._changed.set()
        elif push[0] == b"pmessage":
            heard = self._heard.get(push[1].decode())
            if heard is not None:
                heard(push[2].decode("utf-8", "replace"), push[3])


def literal(channel: str) -> str:
    """A channel's name as a pattern that fits it alone."""
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in channel)
