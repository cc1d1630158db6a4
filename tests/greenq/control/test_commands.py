"""What workers answer, and that they do what they are told."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from greenq.control.panel import PANEL, inspect_command
from greenq.control.wire import exchange_of
from greenq.errors import TaskRevoked, TimeLimitExceeded
from greenq.message import REVOKED
from greenq.radio import Post
from tests.greenq.control.conftest import Fleet
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until


def test_a_worker_answers_while_its_pool_is_full(fleet: Fleet) -> None:
    fleet.embedded(slots=2)
    for _ in range(4):
        fleet.app.send_task("works.sleep", (600,))
    until(lambda: len(fleet.ask("active")) == 2)
    assert fleet.ask("ping") == {"ok": "pong"}
    task = fleet.ask("active")[0]
    assert (task["name"], task["args"]) == ("works.sleep", [600])
    assert fleet.ask("query_task", ids=[task["id"]])[task["id"]][0] == "active"
    assert fleet.ask("stats")["pool"]["max-concurrency"] == 2


def test_it_answers_after_fifty_lost_connections(fleet: Fleet) -> None:
    fleet.embedded()
    server = shared_redis()
    for _ in range(50):
        server.do("CLIENT", "KILL", "TYPE", "pubsub")
    # What is said while it connects again is not heard.
    until(lambda: fleet.app.control.ping(timeout=1.0) == [{"one@test": {"ok": "pong"}}])


def test_those_who_are_not_meant_stay_silent(fleet: Fleet) -> None:
    fleet.embedded("one@test")
    fleet.embedded("two@test")
    assert set(fleet.ask("ping", "one@test", "two@test")) == {"one@test", "two@test"}
    control = fleet.app.control
    until(lambda: control.inspect(pattern="tw*", timeout=PATIENCE / 8, limit=1).ping() is not None)
    found = control.inspect(pattern="two.*", matcher="pcre", timeout=PATIENCE / 8, limit=1).ping()
    assert found == {"two@test": {"ok": "pong"}}


def test_what_is_no_request_is_passed_over(fleet: Fleet) -> None:
    fleet.embedded()
    radio = fleet.app.broker.radio()
    assert radio is not None
    bodies: list[Any] = [
        None, [], 5, "x", {}, {"method": 5}, {"method": "ping", "arguments": []},
        {"method": "ping", "destination": 5}, {"method": "ping", "reply_to": "x"},
        {"method": "nope"}, {"method": "revoke", "arguments": {"task_id": 5}},
        {"method": "pool_grow", "arguments": {"n": "many"}},
        {"method": "rate_limit", "arguments": {"task_name": ["x"], "rate_limit": "no"}},
        {"method": "ping", "pattern": "(", "matcher": "pcre"}, {"method": "ping", "arguments": {"bad": 1}},
        {"method": "time_limit", "arguments": {"task_name": "works.add", "hard": "soon"}},
        {"method": "ping", "reply_to": {"exchange": "none", "routing_key": "nobody"}, "ticket": {}},
    ]  # fmt: skip
    exchange = exchange_of("celery")
    posts = [Post(exchange, "", json.dumps(body).encode(), {"clock": 1}) for body in bodies]
    posts += [
        Post(exchange, "", b"{", {}), Post(exchange, "", b"\x80\x04.", {}, "application/x-python-serialize"),
        Post(exchange, "", b"[" * 100_000, {"clock": "late", "expires": "never"}),
    ]  # fmt: skip
    radio.announce(posts, PATIENCE)
    address = fleet.url.rpartition("/")[2]
    for raw in (b"", b"{}", b"\xff\xfe", b'{"body": 5, "headers": {}, "properties": {}}'):
        shared_redis().do("PUBLISH", f"/{address}.{exchange}", raw)
    assert fleet.ask("ping") == {"ok": "pong"}


def test_an_application_can_have_commands_of_its_own(fleet: Fleet) -> None:
    @inspect_command(args=[("name", str)])
    def greet(state: Any, name: str = "you", **_: Any) -> Any:
        """Say hello."""
        return {"ok": f"hello {name}, from {state.hostname}"}

    try:
        fleet.embedded()
        assert fleet.ask("greet", name="world") == {"ok": "hello world, from one@test"}
    finally:
        del PANEL["greet"]


class TestRevoking:
    def test_a_revoked_task_is_not_run_and_its_state_says_so_at_once(self, fleet: Fleet) -> None:
        fleet.embedded()
        result = fleet.app.send_task("works.add", (1, 2), countdown=3600)
        result.revoke(wait=True, timeout=1.0)
        with pytest.raises(TaskRevoked):
            result.get(timeout=PATIENCE)
        assert fleet.ask("revoked") == [result.id]

    def test_a_worker_that_starts_later_knows_what_was_revoked(self, fleet: Fleet) -> None:
        result = fleet.app.send_task("works.add", (1, 2))
        result.revoke()
        worker = fleet.embedded()
        with pytest.raises(TaskRevoked):
            result.get(timeout=PATIENCE)
        until(lambda: fleet.app.broker.depth()["celery"].leased == 0)
        assert worker.stats()["started"] == 0

    def test_stamped_tasks_are_revoked_together(self, fleet: Fleet) -> None:
        stamp: Any = {"stamped_headers": ["customer"], "customer": "7"}
        kept = fleet.app.send_task("works.add", (1, 2), countdown=1, **{**stamp, "customer": "8"})
        dropped = [fleet.app.send_task("works.add", (n, 2), countdown=1, **stamp) for n in range(3)]
        fleet.app.control.revoke_by_stamped_headers({"customer": ["7"]})
        fleet.embedded()
        assert kept.get(timeout=PATIENCE) == 3
        for result in dropped:
            with pytest.raises(TaskRevoked):
                result.get(timeout=PATIENCE)

    def test_a_running_task_that_is_only_revoked_keeps_its_end(self, fleet: Fleet) -> None:
        fleet.embedded("one@test")
        fleet.embedded("two@test")
        result = fleet.app.send_task("works.sleep", (4,))
        nodes = ("one@test", "two@test")
        until(lambda: any(fleet.ask("active", *nodes).values()))
        result.revoke()
        assert result.get(timeout=PATIENCE) == 4

    def test_a_pool_that_cannot_end_what_runs_says_so(self, fleet: Fleet) -> None:
        fleet.embedded()
        result = fleet.app.send_task("works.sleep", (3,))
        until(lambda: fleet.ask("active"))
        assert "end a thread" in fleet.ask("revoke", task_id=[result.id], terminate=True)["error"]
        assert result.get(timeout=PATIENCE) == 3


class TestChanging:
    def test_the_pool_grows_and_shrinks(self, fleet: Fleet) -> None:
        fleet.embedded(slots=2)
        assert fleet.ask("pool_grow", n=3) == {"ok": "pool will grow"}
        assert fleet.ask("stats")["pool"]["max-concurrency"] == 5
        assert fleet.ask("pool_shrink", n=4) == {"ok": "pool will shrink"}
        assert fleet.ask("stats")["pool"]["max-concurrency"] == 1
        assert "one must stay" in fleet.ask("pool_shrink", n=1)["error"]

    def test_queues_are_added_and_cancelled(self, fleet: Fleet) -> None:
        fleet.embedded()
        result = fleet.app.send_task("works.add", (1, 2), queue="extra")
        assert fleet.ask("add_consumer", queue="extra") == {"ok": "add consumer extra"}
        assert result.get(timeout=PATIENCE) == 3
        assert [queue["name"] for queue in fleet.ask("active_queues")] == ["celery", "extra"]
        assert fleet.ask("cancel_consumer", queue="extra") == {"ok": "no longer consuming from extra"}
        assert [queue["name"] for queue in fleet.ask("active_queues")] == ["celery"]

    def test_a_rate_limit_holds_from_then_on_and_can_be_taken_away(self, fleet: Fleet) -> None:
        worker = fleet.embedded()
        assert "ok" in fleet.ask("rate_limit", task_name="works.add", rate_limit="1/h")
        results = [fleet.app.send_task("works.add", (n, 1)) for n in range(3)]
        until(lambda: any(result.ready() for result in results))
        until(lambda: fleet.app.broker.depth()["celery"].delayed == 2)
        assert sum(result.ready() for result in results) == 1
        assert fleet.ask("rate_limit", task_name="works.add", rate_limit=0)["ok"].startswith("rate limit dis")
        assert fleet.app.send_task("works.add", (5, 1)).get(timeout=PATIENCE) == 6
        assert worker.stats()["capacity"] == 4

    def test_a_limit_that_the_pool_cannot_keep_is_refused(self, fleet: Fleet) -> None:
        fleet.embedded()
        assert "time_limit" in fleet.ask("time_limit", task_name="works.add", hard=3)["error"]
        assert fleet.ask("time_limit", task_name="none", hard=3) == {"error": "unknown task"}


def test_a_command_ends_tasks_keeps_new_limits_and_shuts_down(fleet: Fleet) -> None:
    worker = fleet.command("-c", "2")
    path = fleet.path / "ledger"
    doomed = fleet.app.send_task("works.stubborn", (str(path),))
    node = "two@test"
    until(lambda: fleet.ask("active", node)[node])
    fleet.ask("revoke", node, task_id=[doomed.id], terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevoked):
        doomed.get(timeout=PATIENCE)
    assert doomed.state == REVOKED
    until(path.exists, "the clean-up")
    assert "ok" in fleet.ask("time_limit", node, task_name="works.sleep", hard=1)[node]
    with pytest.raises(TimeLimitExceeded):
        fleet.app.send_task("works.sleep", (600,)).get(timeout=PATIENCE)
    began = time.time()
    fleet.ask("shutdown", node)
    assert worker.wait() == 0, worker.output
    assert time.time() >= began
