"""Returns the messages of dead processes to their queues, and drops results past their time."""

from __future__ import annotations

import logging
import random
import threading

from greenq.brokers.base import Broker
from greenq.errors import GreenqError
from greenq.results.base import ResultStore

__all__ = ["Housekeeping"]

log = logging.getLogger("greenq.housekeeping")

EXPIRE_EVERY = 60.0
"""Seconds between looks for results past their time."""


class Housekeeping:
    """Reaps twice a lease and expires results once a minute; every worker does, none has to be the one.

    Parameters:
        lease: seconds. The first reaping waits so long: after a broker's or a machine's pause the living
            must have had time to renew.
    """

    def __init__(self, broker: Broker, store: ResultStore | None, lease: float) -> None:
        self._broker = broker
        self._store = store
        self._lease = lease
        self._stopping = threading.Event()

    def run(self) -> None:
        """Look after both until `stop`: the duty's service."""
        pause = self._lease
        waited = 0.0
        while not self._stopping.wait(pause):
            waited += pause
            try:
                self._reap()
                if waited >= EXPIRE_EVERY and self._store is not None:
                    waited = 0.0
                    self._store.expire()
            except GreenqError as error:
                log.warning("housekeeping is put off: %s", error)
            # Spread out, so that the workers of a fleet do not all look at once.
            pause = self._lease / 2 * random.uniform(0.8, 1.2)

    def stop(self) -> None:
        """End the duty."""
        self._stopping.set()

    def _reap(self) -> None:
        returned = self._broker.reap()
        if returned:
            log.warning("%d messages of dead processes went back to their queues", returned)
