"""Hear broadcasts: what is published on an exchange's channel goes to a list of this node's own."""

from __future__ import annotations

import logging
import time
from collections import deque

from greenq.redis.address import Address
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.exchanges import Exchanges
from greenq.redis.failures import Failure, refusal
from greenq.redis.keys import Keys
from greenq.redis.link import Link
from greenq.redis.listening import CONNECT_WITHIN, PatternListener, literal
from greenq.redis.opening import open_link
from greenq.redis.resp import ReplyError

__all__ = ["Listener"]


class Listener:
    """Listens for all broadcast queues of a process."""

    def __init__(self, address: Address, keys: Keys, exchanges: Exchanges) -> None:
        self._address = address
        self._keys = keys
        self._exchanges = exchanges
        self._heard: deque[tuple[str, bytes]] = deque()
        self._out: Link | None = None
        self._ear = PatternListener(
            address, "broadcasts", logging.getLogger("greenq.broadcasts"), self._deliver, self._drop
        )

    def listen(self, exchange: str, queue: str, deadline: float) -> None:
        """Put what is broadcast on an exchange into a queue from now on.

        Raises:
            Late: the server did not confirm it.
        """
        channel = literal(self._exchanges.topic(exchange))
        self._ear.listen([channel, f"{channel}/*"], lambda _, raw: self._heard.append((queue, raw)), deadline)

    @property
    def pid(self) -> int:
        """Of the process that listens."""
        return self._ear.pid

    def close(self) -> None:
        """End the connections and the thread. Idempotent."""
        self._ear.close()

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


def _priority(queue: str, raw: bytes) -> int:
    try:
        return unpack(queue, raw).priority
    except Unreadable:
        return 0  # it becomes a dead letter when it is fetched
