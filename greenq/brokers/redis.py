"""The Redis broker: kombu's lists, so that Celery takes part, with leases beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from greenq.brokers.base import Broker, Guarantees
from greenq.errors import BrokerError, BrokerUnreachable, GreenqError, PublishError
from greenq.exchanges import Shape, broadcast_queue
from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement, Verdict
from greenq.radio import Radio
from greenq.redis import settling, taking_over
from greenq.redis.address import Address, parse
from greenq.redis.broadcasts import Listener
from greenq.redis.client import Client
from greenq.redis.envelope import due_of
from greenq.redis.exchanges import Exchanges
from greenq.redis.failures import Failure, Unreachable
from greenq.redis.fetching import Fetcher
from greenq.redis.keys import Keys
from greenq.redis.publishing import Publisher
from greenq.redis.radio import RedisRadio
from greenq.redis.renewing import Renewer
from greenq.redis.unacked import Restorer
from greenq.redis.upcoming import upcoming
from greenq.redis.upkeep import Upkeep
from greenq.serverfailures import Translation

__all__ = ["RedisBroker"]


_translation = Translation(BrokerError, BrokerUnreachable)


class RedisBroker(Broker):
    """Keeps messages in Redis or Valkey, where and how kombu's Redis transport does.

    Parameters:
        url: see `greenq.redis.address.parse`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: the address has a mistake.
    """

    guarantees = Guarantees(
        survives_process=True,
        shared=True,
        exact_fetch=True,
        priorities=4,
        limits=(
            "What the server forgets is lost: for restarts set appendonly yes (appendfsync always).",
            "A failover to an asynchronous replica can lose the last writes, acknowledged ones too.",
            "Priority 0 is the most urgent, as with Celery on Redis; 0 to 9 share four lists.",
            "In a Redis Cluster all keys of an address lie in one slot, so on one node.",
            "A broadcast reaches the workers that listen at that moment.",
        ),
        urgent=0,
        exchanges=("direct", "topic", "fanout"),
        broadcasts=True,
    )

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.address: Address = parse(url)
        self.keys = Keys(self.address)
        self.client = Client(self.address)
        self._timeout = timeout
        self._exchanges = Exchanges(self.client, self.keys, self.address.db)
        self.publisher = Publisher(self.client, self.keys, self._exchanges)
        self._upkeep = Upkeep(self.client, self.keys, timeout)
        self._restorer = Restorer(self.client, self.keys, self.address)
        self._fetcher: Fetcher | None = None
        self._renewer: Renewer | None = None
        self._listener: Listener | None = None
        self._closed = False

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────

    def publish(self, messages: Sequence[Message], timeout: float) -> list[GreenqError | None]:
        self._open()
        try:
            return self.publisher.publish(messages, time.monotonic() + timeout)
        except Unreachable as error:
            raise BrokerUnreachable(str(error)) from error
        except Failure as error:
            failed = PublishError(f"{error}; nothing was sent")
            return [failed for _ in messages]

    # ── leasing ──────────────────────────────────────────────────────────────────────────────────────────

    def lease(self, process: str, seconds: float) -> None:
        self._open()
        with _translation:
            self._upkeep.enter(process, seconds)
        self._drop_process()
        self._fetcher = Fetcher(self.address, self.client, self.keys, process, seconds, self._timeout)
        self._renewer = Renewer(self.address, self.keys, process, seconds, self._timeout)

    def fetch(self, queues: Sequence[str], n: int, timeout: float) -> list[Delivery]:
        fetcher = self._fetcher
        if fetcher is None or fetcher.pid != os.getpid():
            fetcher = self._leased()
        wanted = tuple(dict.fromkeys(queues))
        deadline = time.monotonic() + max(0.0, timeout)
        if n < 1 or not wanted:
            return []
        try:
            while True:
                deliveries = fetcher.fetch(wanted, n, deadline - time.monotonic())
                if not deliveries:
                    return []
                for delivery in deliveries:
                    message = delivery.message
                    if message is not None and message.headers.get("eta") is not None:
                        deliveries = self._park(deliveries)
                        break
                if deliveries:
                    return deliveries
        except Failure as error:
            raise _translation.of(error) from error

    def _park(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Put what is not due yet aside, whoever sent it; the others."""
        early: list[Settlement] = []
        for delivery in deliveries:
            message = delivery.message
            if message is not None and message.headers.get("eta") is not None:
                due = due_of(message)
                if due is not None and due > time.time():
                    early.append(Settlement(delivery, Verdict.RETRY_AT, due))
        if not early:
            return deliveries
        settling.settle(self.client, self.keys, early, time.monotonic() + self._timeout)
        gone = {id(settlement.delivery) for settlement in early}
        return [delivery for delivery in deliveries if id(delivery) not in gone]

    def wake(self) -> None:
        if self._fetcher is not None:
            self._fetcher.wake()

    def settle(self, settlements: Sequence[Settlement], timeout: float) -> list[bool]:
        self._open()
        if not settlements:
            return []
        with _translation:
            return settling.settle(self.client, self.keys, settlements, time.monotonic() + timeout)

    def renew(self) -> None:
        self._leased()
        assert self._renewer is not None
        with _translation:
            self._renewer.renew()

    def reap(self) -> int:
        self._open()
        own = self._fetcher.process if self._fetcher is not None else None
        # Whoever could not reach the server while we could not may be alive: it gets one lease to renew.
        trusted = time.monotonic() - self.client.troubled if self.client.troubled else float("inf")
        with _translation:
            returned = sum(
                self._upkeep.give_back(process, charge=True, only_dead=True)
                for process in self._upkeep.expired(own, trusted)
            )
            return returned + self._restorer.restore(self._timeout)

    def release(self, process: str, charge: bool = True) -> int:
        self._open()
        own = self._fetcher is not None and self._fetcher.process == process
        with _translation:
            return self._upkeep.give_back(process, charge=charge and not own, only_dead=False)

    # ── suspects ─────────────────────────────────────────────────────────────────────────────────────────

    def charge(self, deliveries: Sequence[Delivery], timeout: float, withdraw: bool = False) -> list[bool]:
        self._open()
        deadline = time.monotonic() + timeout
        with _translation:
            return settling.charge(self.client, self.keys, deliveries, 0 if withdraw else 1, deadline)

    def take_over(self, process: str, id: str) -> list[Delivery]:
        fetcher = self._leased()
        deadline = time.monotonic() + self._timeout
        with _translation:
            return taking_over.take_over(self.client, self.keys, fetcher, process, id, deadline)

    # ── looking after queues ─────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Sequence[str]) -> None:
        self._open()
        with _translation:
            self._upkeep.declare(queues)
            bindings = self._exchanges.bindings(queues)
            self.client.all(bindings, time.monotonic() + self._timeout, again=True)

    def shape(self, shapes: Mapping[str, Shape]) -> None:
        super().shape(shapes)
        self._exchanges.shape(shapes)

    def attend(self, queue: str, node: str, timeout: float) -> str:
        self._open()
        own = broadcast_queue(queue, node)
        with _translation:
            self._upkeep.declare([own])
            if self._listener is None or self._listener.pid != os.getpid():
                self._listener = Listener(self.address, self.keys, self._exchanges)
            exchange = self._exchanges.exchange_of(queue)
            self._listener.listen(exchange, own, time.monotonic() + timeout)
        return own

    def radio(self) -> Radio:
        self._open()
        return RedisRadio(self.address, self.keys, self.client)

    def depth(self) -> dict[str, Depth]:
        self._open()
        with _translation:
            return self._upkeep.depth()

    def upcoming(self, queues: Sequence[str], limit: int = 100) -> list[Delivery]:
        self._open()
        with _translation:
            return upcoming(self.client, self.keys, queues, limit, time.monotonic() + self._timeout)

    def purge(self, queue: str) -> int:
        self._open()
        with _translation:
            return self._upkeep.purge(queue)

    def dead(self, queue: str | None = None, limit: int = 100) -> list[DeadLetter]:
        self._open()
        with _translation:
            return self._upkeep.dead(queue, limit)

    def replay(self, key: str) -> bool:
        self._open()
        with _translation:
            return self._upkeep.replay(key)

    def bury(self, queue: str | None = None) -> int:
        self._open()
        with _translation:
            return self._upkeep.bury(queue)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._drop_process()
        self.client.close()

    def _drop_process(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        fetcher, self._fetcher = self._fetcher, None
        renewer, self._renewer = self._renewer, None
        if fetcher is not None:
            fetcher.close()
        if renewer is not None:
            renewer.close()

    def _open(self) -> None:
        if self._closed:
            raise BrokerError("this broker is closed: make another one")

    def _leased(self) -> Fetcher:
        self._open()
        if self._fetcher is None or self._fetcher.pid != os.getpid():
            raise BrokerError("this process has no lease: call lease() before fetch() and renew()")
        return self._fetcher
