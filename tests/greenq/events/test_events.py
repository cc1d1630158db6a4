"""What workers and senders tell, as Celery's own receiver hears it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from greenq.events.clock import MOST, Clock
from greenq.events.event import TOGETHER, EventMaker, posts_of
from tests.greenq.control.conftest import Fleet
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

COMMON = {"hostname", "utcoffset", "pid", "clock", "timestamp", "type", "local_received"}
FIELDS = {
    "worker-online": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
    "worker-heartbeat": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
    "worker-offline": {"freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys"},
    "task-sent": {
        "uuid", "root_id", "parent_id", "name", "args", "kwargs", "retries", "eta", "expires", "queue",
        "exchange", "routing_key",
    },
    "task-received": {
        "uuid", "name", "args", "kwargs", "root_id", "parent_id", "retries", "eta", "expires"
    },
    "task-started": {"uuid"},
    "task-succeeded": {"uuid", "result", "runtime"},
    "task-failed": {"uuid", "exception", "traceback"},
    "task-retried": {"uuid", "exception", "traceback"},
    "task-rejected": {"uuid", "requeue"},
    "task-revoked": {"uuid", "terminated", "signum", "expired"},
}  # fmt: skip
"""As they were captured from Celery 5.7."""
COUNTS = {"active", "processed", "loadavg"}


class Heard:
    """The events that Celery's receiver heard."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def of(self, id: str) -> list[str]:
        """What was told of a task, in order."""
        return [event["type"] for event in list(self.events) if event.get("uuid") == id]

    def types(self) -> set[str]:
        return {event["type"] for event in list(self.events)}


@contextmanager
def listening(url: str) -> Iterator[Heard]:
    """Hear all events in a thread of Celery's."""
    heard, stopping = Heard(), threading.Event()

    def hear() -> None:
        # Its connection may end before it does.
        with contextlib.suppress(Exception), Celery(broker=url).connection() as connection:
            receiver = Celery(broker=url).events.Receiver(connection, handlers={"*": heard.events.append})
            for _ in receiver.itercapture(limit=None, timeout=None, wakeup=True):
                if stopping.is_set():
                    return

    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stopping.set()
        thread.join(0.1)


@pytest.fixture(params=["redis", "rabbitmq"])
def fleet(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    url = shared_redis().empty()
    if request.param == "rabbitmq":
        monkeypatch.setenv("STEERED_RESULTS", url)
        url = shared_rabbit().empty()
    made = Fleet(tmp_path, url, events={"heartbeat": "1s", "sent": True})
    try:
        yield made
    finally:
        made.close()


def test_celerys_receiver_hears_all_that_happens(fleet: Fleet) -> None:
    worker = fleet.embedded()
    with listening(fleet.url) as heard:
        until(lambda: "worker-heartbeat" in heard.types())
        silent = fleet.app.send_task("works.add", (1, 1))
        assert silent.get(timeout=PATIENCE) == 2
        assert fleet.ask("enable_events") == {"ok": "task events enabled"}
        ends = {
            "works.add": "task-succeeded", "works.fail": "task-failed", "works.reject": "task-rejected",
            "works.again": "task-retried", "works.unknown": "task-failed",
        }  # fmt: skip
        sent = {name: fleet.app.send_task(name, (1, 2) if name == "works.add" else ()) for name in ends}
        late = fleet.app.send_task("works.add", (1, 2), countdown=2, expires=1)
        dropped = fleet.app.send_task("works.add", (1, 2), countdown=2)
        dropped.revoke()
        for name, end in ends.items():
            until(lambda end=end, name=name: end in heard.of(sent[name].id), f"{end} of {name}")  # type: ignore[misc]
        for result in (late, dropped):
            until(lambda result=result: "task-revoked" in heard.of(result.id), "a revoked task")  # type: ignore[misc]
        # Whoever sends tells of it after that, and the worker may have been faster.
        told = [type for type in heard.of(sent["works.add"].id) if type != "task-sent"]
        assert told == ["task-received", "task-started", "task-succeeded"]
        until(lambda: "task-sent" in heard.of(sent["works.add"].id))
        assert set(heard.of(silent.id)) <= {"task-sent"}
        assert fleet.ask("disable_events") == {"ok": "task events disabled"}
        worker.stop(0)
        until(lambda: "worker-offline" in heard.types())
    for event in heard.events:
        # One that was asked for says less, as Celery's.
        asked = event["type"] == "worker-heartbeat" and "active" not in event
        assert set(event) - COMMON == FIELDS[event["type"]] - (COUNTS if asked else set()), event
    revoked = {event["uuid"]: event for event in heard.events if event["type"] == "task-revoked"}
    assert (revoked[late.id]["expired"], revoked[dropped.id]["expired"]) == (True, False)
    done = next(event for event in heard.events if event["type"] == "task-succeeded")
    assert done["result"] == "3"
    assert done["runtime"] >= 0


def test_a_worker_that_is_told_so_tells_of_tasks_from_its_start() -> None:
    fleet = Fleet(Path(), shared_redis().empty(), events={"tasks": True, "heartbeat": "1s"})
    try:
        worker = fleet.embedded()
        with listening(fleet.url) as heard:
            until(lambda: "worker-heartbeat" in heard.types())
            result = fleet.app.send_task("works.add", (1, 2))
            until(lambda: "task-succeeded" in heard.of(result.id))
            worker.stop(0)
    finally:
        fleet.close()


def test_ends_are_told_also_where_tasks_run_in_other_processes(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, shared_redis().empty())
    try:
        fleet.command("-P", "prefork", "-c", "1", "-E")
        with listening(fleet.url) as heard:
            until(lambda: "worker-heartbeat" in heard.types())
            good, bad = fleet.app.send_task("works.add", (1, 2)), fleet.app.send_task("works.fail")
            until(lambda: "task-succeeded" in heard.of(good.id))
            until(lambda: "task-failed" in heard.of(bad.id))
        told = {event["type"]: event for event in heard.events}
        assert told["task-succeeded"]["result"] == "3"
        assert told["task-failed"]["exception"] == "ValueError('as it should')"
        assert "works.py" in told["task-failed"]["traceback"]
    finally:
        fleet.close()


def test_many_events_travel_together_in_their_order() -> None:
    maker = EventMaker("one@test", Clock())
    events = [maker.make("task-started", uuid=str(n)) for n in range(2 * TOGETHER + 1)]
    events.insert(5, maker.make("worker-heartbeat", freq=2.0))
    posts = posts_of(events, "celeryev")
    assert [post.key for post in posts] == [
        "task.multi", "worker.heartbeat", "task.multi", "task.multi"
    ]  # fmt: skip
    bodies = [json.loads(post.body) for post in posts]
    found = [one for body in bodies for one in (body if isinstance(body, list) else [body])]
    assert found == events
    assert all(post.headers == {"hostname": "one@test"} for post in posts)


def test_a_strangers_clock_is_taken_over_within_reason() -> None:
    clock = Clock()
    assert clock.adjust(41) == 42
    for strange in (None, "x", MOST, -5, 1e300):
        clock.adjust(strange)
    assert clock.value == 47
