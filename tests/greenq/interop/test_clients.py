"""PHP, Go and Rust: a greenq worker runs what their clients send, and results are where they look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from greenq.brokers import connect
from greenq.message import Depth
from tests.greenq.interop.clients import CLIENTS, QUEUE, Client, Sent, send_over_rabbitmq
from tests.greenq.interop.sides import greenq_worker
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until


class Site:
    """A broker with a worker, and the Redis where clients look for results."""

    def __init__(self, broker: str, results: str) -> None:
        self.broker = broker
        self._results = results

    def result(self, client: Client, task: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Send a call as a client does, and read what it would read, once that is there."""
        sent = client(f"interop.{task}", *args, **kwargs)
        if self.broker.startswith("amqp"):
            send_over_rabbitmq(self.broker, sent)
        else:
            shared_redis().do("LPUSH", QUEUE, sent.redis, url=self.broker)
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            raw = shared_redis().do("GET", f"celery-task-meta-{sent.id}", url=self._results)
            found[:] = [json.loads(raw)] if raw else []
            return bool(found) and found[0]["status"] not in ("STARTED", "RETRY")

        until(is_there, f"the result of {sent.id}")
        [result] = found
        assert result["task_id"] == sent.id
        assert isinstance(result["children"], list)
        return result


@pytest.fixture(scope="module", params=["redis", "amqp"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    results = shared_redis().empty()
    broker = results if request.param == "redis" else shared_rabbit().empty()
    with greenq_worker(broker, results, QUEUE):
        yield Site(broker, results)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


def test_a_call_is_run_and_its_result_is_where_the_client_looks(site: Site, client: Client) -> None:
    result = site.result(client, "add", 5456, 2878)
    assert (result["status"], result["result"], result["traceback"]) == ("SUCCESS", 8334, None)


def test_named_arguments_arrive(site: Site, client: Client) -> None:
    result = site.result(client, "mirror", text="grün/blau", nested={"a": [1, None]})
    assert result["result"] == [[], {"text": "grün/blau", "nested": {"a": [1, None]}}]


def test_a_call_without_arguments(site: Site, client: Client) -> None:
    assert site.result(client, "mirror")["result"] == [[], {}]


def test_a_failure_tells_what_failed(site: Site, client: Client) -> None:
    result = site.result(client, "fail", text="no such thing")
    assert result["status"] == "FAILURE"
    assert result["result"]["exc_type"] == "ValueError"
    assert result["result"]["exc_message"] == ["no such thing"]
    assert "raise ValueError(text)" in result["traceback"]


def test_an_eta_is_kept_however_it_is_written(site: Site, client: Client) -> None:
    eta = datetime.now(UTC) + timedelta(seconds=2)
    # Two of them know no fractions of seconds.
    assert site.result(client, "moment", eta=eta)["result"] >= int(eta.timestamp())


def test_a_retry_is_run_again(site: Site, client: Client) -> None:
    result = site.result(client, "persist", times=1)
    assert result["result"] == [1, result["task_id"]]


def test_the_message_of_the_manual_is_run(site: Site) -> None:
    if site.broker.startswith("redis"):
        page = (Path(__file__).parents[3] / "docs" / "clients.md").read_text()
        [text] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
        sent = Sent(
            json.loads(text)["headers"]["id"], text.replace("shop.add", "interop.add").encode(), b"", {}
        )
        assert site.result(lambda task: sent, "add")["result"] == 5


def test_nothing_is_left_and_nothing_is_dead(site: Site) -> None:
    with connect(site.broker) as broker:
        until(lambda: broker.depth().get(QUEUE, Depth()) == Depth(), "the end of the work")
