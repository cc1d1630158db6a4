"""Renew a process's lease: from a native thread, over a connection of its own that no hub knows."""

from __future__ import annotations

import os
import time

from greenq.redis.address import Address
from greenq.redis.failures import Failure, refusal
from greenq.redis.keys import Keys
from greenq.redis.link import Link
from greenq.redis.opening import open_link
from greenq.redis.resp import ReplyError
from greenq.redis.upkeep import renewal
from pools import native

__all__ = ["Renewer"]


class Renewer:
    """Extends one process's lease.

    Parameters:
        seconds: the lease's length; an attempt takes no longer than a third of it.
        timeout: seconds that the server may take to answer at most.
    """

    def __init__(self, address: Address, keys: Keys, process: str, seconds: float, timeout: float) -> None:
        self._address = address
        self._begin = renewal(keys, process, seconds)
        self._prolong = ("PEXPIRE", keys.lease(process), max(1, round(seconds * 1000)))
        self._patience = min(timeout, max(1.0, seconds / 3))
        self._lock = native.Lock()
        self._link: Link | None = None

    def renew(self) -> None:
        """Extend the lease.

        Raises:
            Failure: the server did not confirm it.
        """
        deadline = time.monotonic() + self._patience
        with self._lock:
            for last in (False, True):
                try:
                    self._try(deadline)
                    return
                except Failure as error:
                    self._drop()
                    if last or not error.uncertain:
                        raise

    def _try(self, deadline: float) -> None:
        if self._link is None or self._link.pid != os.getpid():
            self._link = open_link(self._address, deadline, off_hub=True)
        # A server that is out of memory refuses to set a key, but not to prolong it.
        replies = self._link.call([self._prolong], deadline)
        if replies == [0]:
            replies = self._link.call(self._begin, deadline)
        for reply in replies:
            if type(reply) is ReplyError:
                raise refusal(str(reply))

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def close(self) -> None:
        """End the connection."""
        if self._lock.acquire(timeout=0.1):
            self._drop()
            self._lock.release()
