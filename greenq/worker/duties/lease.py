"""Keeps this process's lease: as long as it is renewed, nobody else gets what runs here."""

from __future__ import annotations

import logging

from greenq.brokers.base import Broker
from greenq.errors import GreenqError
from greenq.worker.reach import Reach
from pools.native import NativeThread, Signal, start

__all__ = ["Lease"]

log = logging.getLogger("greenq.lease")


class Lease:
    """Renews from a native thread, so that a task which blocks every green thread does not lose the lease.

    Parameters:
        seconds: the lease's length; it is renewed three times in that time.
        reach: told whether the broker was reached.
    """

    def __init__(self, broker: Broker, seconds: float, reach: Reach) -> None:
        self._broker = broker
        self._reach = reach
        self._every = seconds / 3
        self._stopping = Signal()
        self._thread: NativeThread | None = None

    def start(self) -> None:
        """Begin to renew."""
        self._thread = start(self._run, "greenq-lease")

    def stop(self) -> None:
        """Renew no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._every)

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            self._reach.look()
            try:
                self._broker.renew()
                self._reach.succeeded("renew")
            except GreenqError as error:
                log.warning("the lease could not be renewed: %s", error)
                self._reach.failed("renew")
            except Exception:
                log.exception("the lease could not be renewed")
