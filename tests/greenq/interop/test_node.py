"""npm's celery-node and node-celery: greenq runs what they send, and celery-node's worker serves greenq."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from greenq.errors import RemoteError
from tests.greenq.interop import greenq_side
from tests.greenq.interop.node.programs import CLIENTS, Caller, node_caller, node_worker
from tests.greenq.interop.sides import greenq_worker
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE

QUEUE = greenq_side.QUEUE
BROKERS = ("redis", "amqp")


@pytest.fixture(scope="module", params=BROKERS)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A broker and a result store, with a greenq worker and one of celery-node's."""
    results = shared_redis().empty()
    broker = results if request.param == "redis" else shared_rabbit().empty()
    with greenq_worker(broker, results), node_worker(broker, results, "to-node"):
        yield broker, results


@pytest.fixture(scope="module", params=CLIENTS)
def caller(place: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Caller]:
    with node_caller(request.param, *place, QUEUE) as running:
        yield running


class TestAClientOfNodes:
    def test_calls_a_task_and_gets_its_result(self, caller: Caller) -> None:
        told = caller.call("add", 2, 3)
        assert (told["status"], told["result"]) == ("SUCCESS", 5)

    def test_sends_arguments_of_all_kinds(self, caller: Caller) -> None:
        told = caller.call("mirror", 1, "ü\u2028", None, k=[True, {"a": 1.5}])
        assert told["result"] == [[1, "ü\u2028", None], {"k": [True, {"a": 1.5}]}]

    def test_is_told_of_a_failure(self, caller: Caller) -> None:
        told = caller.call("fail", "no such thing")
        assert told["status"] == "FAILURE"
        assert told["result"]["exc_type"] == "ValueError"
        assert told["result"]["exc_message"] == ["no such thing"]

    def test_sends_many_at_once(self, caller: Caller) -> None:
        told = caller.calls(*({"task": "interop.add", "args": [n, n]} for n in range(60)))
        assert sorted(one["result"] for one in told) == list(range(0, 120, 2))

    def test_waits_through_retries(self, caller: Caller) -> None:
        told = caller.call("persist", 1)
        if caller.client == "node-celery":
            # It takes the first that it hears for the last, with a worker of Celery's too.
            assert told["status"] == "RETRY"
        else:
            assert told["result"] == [1, told["id"]]


def test_an_eta_of_node_celerys_is_kept(place: tuple[str, str]) -> None:
    eta = datetime.now(UTC) + timedelta(seconds=1)
    options = {"eta": eta.isoformat(), "expires": (eta + timedelta(hours=1)).isoformat(), "retries": 0}
    with node_caller("node-celery", *place, QUEUE) as caller:
        told = caller.call("moment", options=options)
    # JavaScript's times have no microseconds.
    assert told["result"] >= eta.timestamp() - 0.001


def test_what_node_celery_sends_too_late_is_revoked(place: tuple[str, str]) -> None:
    options = {"expires": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    with node_caller("node-celery", *place, QUEUE) as caller:
        assert caller.call("add", 1, 2, options=options)["status"] == "REVOKED"


class TestAWorkerOfNodes:
    @pytest.fixture
    def app(self, place: tuple[str, str]) -> Iterator[Any]:
        app = greenq_side.make(*place)
        yield app
        app.close()

    def test_serves_a_call_of_greenqs(self, app: Any) -> None:
        result = app.send_task("interop.add", (2, 3), queue="to-node")
        assert result.get(timeout=PATIENCE) == 5

    def test_gets_arguments_of_all_kinds(self, app: Any) -> None:
        result = app.send_task("interop.mirror", (1, "ü", None), {"k": [1.5]}, queue="to-node")
        assert result.get(timeout=PATIENCE) == [[1, "ü", None], {"k": [1.5]}]

    def test_serves_many_at_once(self, app: Any) -> None:
        sent = [app.send_task("interop.slow", (str(n),), queue="to-node") for n in range(100)]
        assert [result.get(timeout=PATIENCE) for result in sent] == [str(n) for n in range(100)]

    def test_tells_of_a_failure(self, app: Any) -> None:
        result = app.send_task("interop.fail", ("no such thing",), queue="to-node")
        with pytest.raises(RemoteError):  # it says nothing of why
            result.get(timeout=PATIENCE)
        assert result.state == "FAILURE"
