"""A broker inside one process, for tests and small programs: the same meaning as the embedded file's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from greenq.brokers.base import Broker, Guarantees
from greenq.brokers.hearing import MemoryRadio
from greenq.brokers.space import Place, Space, space
from greenq.errors import BrokerError, ConfigError, GreenqError, PublishError
from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement
from greenq.radio import Radio
from greenq.sqlite.settling import check
from pools import native

__all__ = ["MemoryBroker", "name_of"]


def name_of(url: str) -> str:
    """Read the name in ``memory://name``.

    Raises:
        ConfigError: there is more than a name.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ConfigError("a memory address is memory:// and a name, without path or options")
    return parts.netloc


class MemoryBroker(Broker):
    """Keeps messages in this process's memory.

    Parameters:
        url: ``memory://name``; brokers of the same name share their queues.
        timeout: taken for the sake of the other brokers; nothing here takes long.

    Raises:
        ConfigError: the address has a mistake.
    """

    guarantees = Guarantees(
        survives_process=False,
        shared=False,
        exact_fetch=True,
        priorities=10,
        limits=("Everything is lost when the process ends, and a forked child starts with nothing.",),
    )

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self._name = name_of(url)
        self.space: Space = space(self._name)
        self._process: str | None = None
        self._seconds = 0.0
        self._lock = native.Lock()
        self._signals: list[native.Signal] = []
        self._wakes = 0
        self._missed = False
        self._closed = False

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        errors: list[GreenqError | None] = []
        places: list[Place] = []
        for message in messages:
            try:
                places.append(Place.of(message))
                errors.append(None)
            except PublishError as error:
                errors.append(error)
        self._open().put(places)
        return errors

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

    def lease(self, process: str, seconds: float) -> None:
        self._open().enter(process, seconds)
        self._process, self._seconds = process, seconds

    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        process = self._process
        if process is None or self._closed:
            process = self._leased()
        deadline = time.monotonic() + timeout
        with self._lock:
            missed, self._missed = self._missed, False
            wakes = self._wakes
        space, seconds = self.space, self._seconds
        taken, _ = space.take(process, seconds, queues, n, None)  # a busy worker never waits
        while n > 0 and not taken:
            signal = native.Signal()
            with self._lock:
                self._signals.append(signal)
            try:
                taken, pause = self._open().take(process, seconds, queues, n, signal)
                left = deadline - time.monotonic()
                if taken:
                    break
                if left <= 0 or missed or wakes != self._wakes:
                    return []
                signal.wait(left if pause is None else min(left, pause))
            finally:
                space.stop_waiting(signal)
                with self._lock:
                    self._signals.remove(signal)
        deliveries: list[Delivery] = []
        for place, fence in taken:
            deliveries.append(place.delivery(process, fence))
        return deliveries

    def wake(self) -> None:
        with self._lock:
            self._wakes += 1
            self._missed = not self._signals
            for signal in self._signals:
                signal.set()

    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        check(settlements)
        with self._open().lock:
            return self.space.settle(settlements)

    def renew(self) -> None:
        self.space.enter(self._leased(), self._seconds)

    def reap(self) -> int:
        return self._open().reap(self._process)

    def release(self, process: str, charge: bool = True) -> int:
        return self._open().leave(process, charge and process != self._process)

    # ── suspects ─────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, deliveries: Sequence[Delivery], timeout: float, withdraw: bool = False) -> list[bool]:
        return self._open().charge(deliveries, 0 if withdraw else 1)

    def take_over(self, process: str, id: str) -> list[Delivery]:
        own = self._leased()
        self.space.enter(own, self._seconds)
        return [place.delivery(own, fence) for place, fence in self.space.take_over(process, id, own)]

    # ── looking after queues ─────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Sequence[str]) -> None:
        self._open().declare(queues)

    def radio(self) -> Radio:
        self._open()
        return MemoryRadio(self._name)

    def depth(self) -> dict[str, Depth]:
        return self._open().depth()

    def purge(self, queue: str) -> int:
        return self._open().purge(queue)

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        return self._open().letters(queue, limit)

    def replay(self, key: str) -> bool:
        return self._open().replay(key)

    def bury(self, queue: str | None = None) -> int:
        return self._open().bury(queue)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.wake()

    def _open(self) -> Space:
        if self._closed:
            raise BrokerError("this broker is closed: make another one")
        return self.space

    def _leased(self) -> str:
        self._open()
        if self._process is None:
            raise BrokerError("this process has no lease: call lease() before fetch() and renew()")
        return self._process
