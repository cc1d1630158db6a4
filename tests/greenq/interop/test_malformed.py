"""What nobody should send, before workers on Redis and RabbitMQ: greenq's own and adopted applications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pytest

from greenq import GreenQ
from greenq.message import DeadLetter, Depth, Message
from tests.greenq.interop import celery_side, greenq_side
from tests.greenq.interop.clients import amqp_connection
from tests.greenq.interop.sides import adopting_worker, greenq_worker
from tests.greenq.worker.malformed import envelope, harmless, hopeless, unreadable
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

WORKERS = {
    "greenq": (greenq_worker, greenq_side.QUEUE), "adopted": (adopting_worker, celery_side.QUEUE)
}  # fmt: skip
TASK = "interop.add"
JUNK = "x" * 255


def fill_redis(url: str, queue: str) -> int:
    """Push all kinds; how many of them must become dead letters."""
    bad = [*map(envelope, hopeless(TASK).values()), *unreadable(TASK).values()]
    for text in [*bad, *map(envelope, harmless(TASK).values())]:
        shared_redis().do("LPUSH", queue, text, url=url)
    return len(bad)


def fill_rabbitmq(url: str, queue: str) -> int:
    """Publish all kinds; how many of them must become dead letters."""
    bad = hopeless(TASK)
    # Erlang has no such number: the server itself closes the connection.
    del bad["an endless limit"]
    with amqp_connection(url) as connection:
        channel = connection.channel()
        for message in [*bad.values(), *harmless(TASK).values()]:
            channel.basic_publish(_content(message), routing_key=queue)
        for odd in ({}, {"content_type": JUNK}, {"content_encoding": JUNK, "priority": 255, "type": JUNK}):
            channel.basic_publish(amqp.Message(b"\0", **odd), routing_key=queue)
    return len(bad) + 3


def _content(message: Message) -> Any:
    return amqp.Message(
        message.body, content_type=message.content_type, content_encoding=message.content_encoding,
        application_headers=message.headers,
    )  # fmt: skip


@contextmanager
def _asking(broker: str, results: str) -> Iterator[GreenQ]:
    app = greenq_side.make(broker, results)
    try:
        yield app
    finally:
        app.close()


@pytest.mark.parametrize("kind", WORKERS)
@pytest.mark.parametrize("server", ["redis", "amqp"])
def test_each_ends_once_with_its_reason_and_the_worker_goes_on(server: str, kind: str) -> None:
    results = shared_redis().empty()
    broker, fill = (results, fill_redis) if server == "redis" else (shared_rabbit().empty(), fill_rabbitmq)
    run, queue = WORKERS[kind]
    with run(broker, results) as process, _asking(broker, results) as app:
        assert app.send_task(TASK, (1, 1), queue=queue).get(timeout=PATIENCE) == 2
        count = fill(broker, queue)
        assert app.send_task(TASK, (2, 3), queue=queue).get(timeout=PATIENCE) == 5
        for id in harmless(TASK):
            assert app.AsyncResult(id).get(timeout=PATIENCE) == 3, id
        until(lambda: app.broker.depth().get(queue) == Depth(dead=count), f"the end of {count} messages")
        letters: list[DeadLetter] = app.broker.dead(limit=2 * count)
        assert len(letters) == count
        vague = Counter(letter.reason for letter in letters if len(letter.reason) < 15)
        assert not vague
        assert process.poll() is None
        assert app.send_task(TASK, (3, 4), queue=queue).get(timeout=PATIENCE) == 7
