"""A worker forgets what ended while RabbitMQ was away, once that has come back and is acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from greenq import GreenQ
from greenq.amqp.failures import Failure
from greenq.brokers.amqp import AmqpBroker
from greenq.message import Depth
from greenq.testing.messages import take
from greenq.worker.worker import Worker
from pools import table
from tests.rabbit import shared_rabbit
from tests.waiting import PATIENCE, until

QUEUE = "celery"


class Shop:
    """An application whose tasks run until the test opens the gate, and a worker in this process."""

    def __init__(self) -> None:
        self.url = shared_rabbit().empty()
        self.app = GreenQ("shop", broker=self.url, results={"url": None})
        assert isinstance(self.app.broker, AmqpBroker)
        self.broker = self.app.broker
        self.broker.expect([QUEUE])
        self.began: list[str] = []
        self.gate = threading.Event()
        self.app.task(self.work, name="work")
        self.pool = table.create("threads", 40)
        self.worker = Worker(self.app, self.pool)

    def work(self, name: str) -> None:
        self.began.append(name)
        assert self.gate.wait(PATIENCE)

    def send(self, *ids: str) -> None:
        for id in ids:
            self.app.send_task("work", (id,), task_id=id)

    def end_without_connection(self, *ids: str) -> None:
        """Let them end while there is no connection, and wait until they have come back and are gone."""
        self.worker.start()
        self.send(*ids)
        until(lambda: len(self.began) == len(ids), "the start of all")
        line = self.broker._inbox.line
        assert line.latest is not None
        with line._lock:  # nobody connects again before they have ended
            line.latest.connection.abort(Failure("the test ended it"))
            self.gate.set()
            until(lambda: self.worker.stats()["lost_leases"] == len(ids), "the loss of their leases")
        until(lambda: not self.broker._ledger._finished, "their return")
        until(lambda: self.broker.depth()[QUEUE] == Depth(), "the end of what came back")

    def close(self) -> None:
        self.gate.set()
        self.worker.stop(PATIENCE)
        self.pool.close(0)
        self.app.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


def test_nothing_stays_of_what_has_come_back(shop: Shop) -> None:
    shop.end_without_connection(*map(str, range(30)))
    assert len(shop.began) == 30
    assert not shop.worker._consumer.suspects._reruns._refused


def test_another_message_with_the_same_id_is_no_redelivery_of_what_has_come_back(shop: Shop) -> None:
    """It was in flight as its process died, and no result says that it has ended: it must run."""
    victim = AmqpBroker(shop.url)
    victim.lease("victim", 60.0)
    shop.send("daily")
    take(victim, 1, [QUEUE])
    shop.end_without_connection("daily")
    victim.close()
    until(lambda: shop.began == ["daily", "daily"], "its run")
    until(lambda: shop.broker.depth()[QUEUE] == Depth(), "its acknowledgement")
