"""A Celery application on RabbitMQ, served by greenq on each pool, and asked by Celery's own client."""

from __future__ import annotations

import pytest

from tests.greenq.interop.celery_side import make
from tests.greenq.interop.sides import adopting_worker
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until


@pytest.mark.parametrize(
    ("pool", "slots"), [("eventlet", 4), ("threads", 4), ("prefork", 2), ("solo", 1), ("gevent", 4)]
)
def test_results_failures_retries_and_pings_are_right(pool: str, slots: int) -> None:
    broker, results = shared_rabbit().empty(), shared_redis().empty()
    with adopting_worker(broker, results, pool, slots), make(broker, results) as app:
        sent = [app.send_task("interop.add", (number, number)) for number in range(20)]
        assert [result.get(timeout=PATIENCE) for result in sent] == list(range(0, 40, 2))
        retried = app.send_task("interop.persist", (1,))
        assert retried.get(timeout=PATIENCE) == [1, retried.id]
        with pytest.raises(ValueError, match="no such thing"):
            app.send_task("interop.fail", ("no such thing",)).get(timeout=PATIENCE)
        until(lambda: app.control.ping(timeout=2), "an answer")
