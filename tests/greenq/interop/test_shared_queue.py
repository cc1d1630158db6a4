"""Celery's and greenq's workers on one queue: whoever began a call, whoever goes on with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kombu import Exchange, Queue

from greenq.brokers import connect
from greenq.testing.messages import take
from tests.greenq.interop.celery_side import make as make_celery
from tests.greenq.interop.sides import Sides, celery_worker, greenq_worker
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE

QUEUE = "shared"


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def sides(request: pytest.FixtureRequest) -> Iterator[Sides]:
    if request.param == "redis":
        broker = results = shared_redis().empty()
    else:
        broker, results = shared_rabbit().empty(), "rpc://"
    with celery_worker(broker, results, queue=QUEUE), greenq_worker(broker, results, queue=QUEUE):
        running = Sides(broker, results)
        yield running
        running.close()


@pytest.mark.parametrize("producer", ["greenq", "celery"])
class TestWhoeverGetsIt:
    def test_retries_go_on_where_the_others_ended(self, sides: Sides, producer: str) -> None:
        app = sides.greenq if producer == "greenq" else sides.celery
        sent = [app.send_task("interop.persist", (3,), queue=QUEUE) for _ in range(40)]
        for result in sent:
            assert result.get(timeout=PATIENCE) == [3, result.id]

    def test_compressed_arguments_survive_retries(self, sides: Sides, producer: str) -> None:
        app = sides.greenq if producer == "greenq" else sides.celery
        options = {"queue": QUEUE, "serializer": "msgpack", "compression": "zlib"}
        sent = [app.send_task("interop.persist", (4,), **options) for _ in range(20)]
        for result in sent:
            assert result.get(timeout=PATIENCE) == [4, result.id]


@pytest.mark.parametrize("worker", ["greenq", "celery"])
def test_on_rabbitmq_the_higher_priority_of_either_runs_first(worker: str) -> None:
    url = shared_rabbit().empty()
    sides = Sides(url, "rpc://")
    celery = make_celery(url, "rpc://")
    queue = Queue("ranked", Exchange("ranked"), "ranked", queue_arguments={"x-max-priority": 9})
    with celery.connection_for_read() as connection, connect(url) as broker:
        bound = queue(connection.channel())
        bound.declare()
        for priority in (0, 9, 4):
            sides.greenq.send_task("interop.add", (1, priority), queue="ranked", priority=priority)
            sides.celery.send_task("interop.add", (2, priority), queue=queue, priority=priority)
        if worker == "greenq":
            broker.lease("reader", 60)
            found = [d.message.priority for d in take(broker, 6, ["ranked"]) if d.message]
        else:
            found = [bound.get(no_ack=True).properties["priority"] for _ in range(6)]
        assert found == [9, 9, 4, 4, 0, 0]
    sides.close()
    celery.close()
