"""Celery and greenq on one RabbitMQ: whoever sends, whoever works, with replies over rpc."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from greenq.brokers import connect
from greenq.message import Depth, Message
from greenq.testing.messages import take
from tests.greenq.interop.celery_side import make as make_celery
from tests.greenq.interop.sides import AT_RISK, Sides, both, celery_worker, mixed_fleet
from tests.greenq.interop.test_redis import TestEachWay as EachWay
from tests.rabbit import shared_rabbit
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def sides() -> Iterator[Sides]:
    with both(shared_rabbit().empty(), "rpc://") as running:
        yield running


class TestEachWay(EachWay):
    def test_what_is_too_late_is_revoked(self, sides: Sides, producer: str, worker: str) -> None:
        if producer == "greenq":
            super().test_what_is_too_late_is_revoked(sides, producer, worker)

    def test_what_celery_sends_too_late_is_dropped_by_the_server(
        self, sides: Sides, producer: str, worker: str
    ) -> None:
        if producer == "celery":
            sides.send(producer, worker, "add", 1, 1, expires=datetime.now(UTC) - timedelta(seconds=60))
            assert sides.send(producer, worker, "add", 1, 2).get(timeout=PATIENCE) == 3


def test_celery_sees_nothing_unusual_in_what_greenq_sends() -> None:
    """The same headers with values of the same types, the same properties, in the same queue."""
    url = shared_rabbit().empty()
    sides = Sides(url, "rpc://")
    with connect(url) as broker:
        broker.lease("reader", 60)
        for priority in (None, 5):
            found: list[Message] = []
            for app in (sides.greenq, sides.celery):
                sender: Any = app
                options = {} if priority is None else {"priority": priority}
                sender.tasks["interop.add"].apply_async(
                    (1, 2), expires=60, task_id="same", queue="to-celery", **options
                )
                [delivery] = take(broker, 1, ["to-celery"])
                assert delivery.message is not None
                found.append(delivery.message)
            ours, theirs = found
            assert {k: type(v) for k, v in ours.headers.items()} == {
                k: type(v) for k, v in theirs.headers.items()
            }
            # Celery lets the server drop what is too late; greenq's workers record it as revoked.
            assert set(ours.properties) == set(theirs.properties) - {"expiration"}
            assert (ours.body, ours.content_type, ours.content_encoding, ours.priority) == (
                theirs.body, theirs.content_type, theirs.content_encoding, theirs.priority,
            )  # fmt: skip
    sides.close()


@pytest.mark.parametrize("options", [{}, {"x-max-priority": 9}, {"x-queue-type": "quorum"}])
def test_queues_that_celery_made_are_used_as_they_are(options: dict[str, Any]) -> None:
    url = shared_rabbit().empty()
    app = make_celery(url, "rpc://")
    with app.connection_for_write() as connection:
        channel = connection.channel()
        channel.queue_declare("made", durable=True, auto_delete=False, arguments=options)
        app.send_task("interop.add", (1, 2), queue=_queue(app, "made", options))
        with connect(url) as broker:
            broker.lease("reader", 60)
            [delivery] = take(broker, 1, ["made"])
            assert delivery.message is not None
            assert delivery.message.headers["task"] == "interop.add"
            assert broker.publish([delivery.message], PATIENCE) == [None]
    app.close()


def _queue(app: Any, name: str, options: dict[str, Any]) -> Any:
    from kombu import Exchange, Queue

    return Queue(name, Exchange(name, "direct"), name, queue_arguments=options)


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_queues_that_greenq_made_are_those_that_celery_declares(kind: str) -> None:
    url = shared_rabbit().empty()
    with connect(f"{url}?queue_type={kind}") as broker:
        broker.declare(["celery"])
    app = make_celery(url, "rpc://")
    app.conf.task_default_queue = "celery"
    app.conf.task_default_queue_type = kind
    with app.connection_for_write() as connection:
        # A difference in any of its properties would be a 406 here.
        app.amqp.queues["celery"](connection.channel()).declare()
    app.close()


def test_an_eta_task_that_celery_sent_waits_in_the_broker() -> None:
    url = shared_rabbit().empty()
    app = make_celery(url, "rpc://")
    app.send_task("interop.add", (1, 2), queue="to-greenq", countdown=1.5)
    sent = time.time()
    with connect(url) as broker:
        broker.lease("reader", 60)
        assert broker.fetch(["to-greenq"], 1, 0.5) == []
        assert broker.depth()["to-greenq"] == Depth(delayed=1)
        take(broker, 1, ["to-greenq"])
        assert 1.4 <= time.time() - sent < 5.0
    app.close()


def test_celerys_native_delay_brings_messages_to_greenq_in_time() -> None:
    from kombu import Exchange, Queue

    url = shared_rabbit().empty()
    with connect(f"{url}?queue_type=quorum&celery_delay=yes") as broker:
        broker.declare(["delayed"])
        broker.declare(["delayed"])
        broker.lease("reader", 60)
        app = make_celery(url, "rpc://")
        queue = Queue(
            "delayed", Exchange("delays", "topic"), "delayed", queue_arguments={"x-queue-type": "quorum"}
        )
        app.conf.task_queues = [queue]
        app.conf.task_default_queue = "delayed"
        app.conf.task_default_exchange_type = "topic"
        due = time.time() + 2.5
        app.send_task("interop.add", (1, 2), queue="delayed", countdown=2.5)
        assert "delayed" in app.amqp.queues
        [delivery] = take(broker, 1, ["delayed"])
        assert delivery.message is not None
        assert due - 0.1 <= time.time() < due + 5.0
        assert any("celery_delayed" in str(death) for death in delivery.message.headers.get("x-death", ()))
        app.close()


def test_what_a_killed_celery_worker_held_is_taken_over() -> None:
    url = shared_rabbit().empty()
    sides = Sides(url, "rpc://")
    with connect(url) as broker:
        broker.declare(["to-greenq"])
        with celery_worker(url, "rpc://", queue="to-greenq") as process:
            sides.send("celery", "greenq", "add", 4, 5, countdown=3600)
            until(
                lambda: "\t1" in shared_rabbit().control(
                    "list_queues", "-p", url.rpartition("/")[2], "name", "messages_unacknowledged"
                ),
                "the worker's taking it",
            )  # fmt: skip
            process.kill()
            process.wait()
        broker.lease("heir", 60)

        def parked() -> bool:
            assert broker.fetch(["to-greenq"], 1, 0.2) == []
            return broker.depth()["to-greenq"] == Depth(delayed=1)

        until(parked, "the parking of what is not due")
    sides.close()


def test_a_mixed_fleet_works_off_twenty_thousand_tasks(tmp_path: Path) -> None:
    url = shared_rabbit().empty()
    ran = mixed_fleet(url, "rpc://", tmp_path, 20_000)
    assert set(ran) == set(range(20_000))
    # What the killed process ran or had not acknowledged yet may run again, and nothing else.
    assert sum(ran.values()) - 20_000 <= AT_RISK
    assert len(list(tmp_path.iterdir())) >= 4, "some worker got nothing"
    with connect(url) as broker:
        broker.expect(["mixed"])
        assert broker.depth()["mixed"] == Depth()
