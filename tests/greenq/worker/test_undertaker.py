"""Another process records a task's end, takes its message away from who holds it, and never twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenq import GreenQ
from greenq.errors import ConfigError, TimeLimitExceeded
from greenq.message import Depth, Settlement, Verdict
from greenq.worker.runner import Runner
from greenq.worker.settler import Settler
from greenq.worker.undertaker import entomb, record
from pools.coroutines import bind


def make(path: Path, **options: object) -> GreenQ:
    url = f"sqlite:///{path}/greenq.db"
    app = GreenQ("shop", **{"broker": url, "results": url, **options})
    app.task(name="shop.endless")(len)
    app.task(name="shop.early", acks_late=False)(len)
    app.task(name="shop.kept", acks_on_timeout=False)(len)
    return app


def undertake(app: GreenQ, name: str, id: str) -> None:
    settler = Settler(app.broker, app.results, 5.0, 1)
    record(app, Runner(app, "node", bind), settler, "holder", name, id, 3.0)


@pytest.mark.parametrize(("name", "dead"), [("shop.endless", 0), ("shop.kept", 1)])
def test_the_message_is_taken_over_and_settled_as_the_task_says(tmp_path: Path, name: str, dead: int) -> None:
    worker, other = make(tmp_path), make(tmp_path)
    result = worker.send_task(name, ([],))
    worker.broker.lease("holder", 30.0)
    (delivery,) = worker.broker.fetch(["celery"], 1, 5.0)
    undertake(other, name, result.id)
    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=5)
    assert worker.broker.settle([Settlement(delivery, Verdict.ACK)], 5.0) == [False]
    assert worker.broker.depth()["celery"] == Depth(dead=dead)
    worker.close()
    other.close()


def test_nothing_is_recorded_of_a_task_that_has_come_to_its_end_meanwhile(tmp_path: Path) -> None:
    worker, other = make(tmp_path), make(tmp_path)
    result = worker.send_task("shop.endless", ([],))
    worker.broker.lease("holder", 30.0)
    (delivery,) = worker.broker.fetch(["celery"], 1, 5.0)
    assert worker.broker.settle([Settlement(delivery, Verdict.ACK)], 5.0) == [True]
    undertake(other, "shop.endless", result.id)
    assert result.state == "PENDING"
    worker.close()
    other.close()


def test_a_task_that_was_acknowledged_before_its_start_is_recorded_all_the_same(tmp_path: Path) -> None:
    app = make(tmp_path)
    undertake(app, "shop.early", "some-id")
    with pytest.raises(TimeLimitExceeded):
        app.AsyncResult("some-id").get(timeout=5)
    app.close()


def test_without_a_result_store_that_all_can_read_it_cannot_be_told(tmp_path: Path) -> None:
    app = make(tmp_path, results=None)
    with pytest.raises(ConfigError, match=r"results\.url"):
        entomb(app, "shop.endless", "some-id", 3.0)
    app.close()
