"""Celery's own client asks a Celery worker and a greenq worker: the answers have the same keys and types."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.greenq.control.celery_works import make
from tests.greenq.control.conftest import ROOT, Fleet
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

INSPECT: dict[str, dict[str, Any]] = {
    "ping": {}, "active": {}, "reserved": {}, "scheduled": {}, "revoked": {}, "registered": {}, "stats": {},
    "active_queues": {}, "clock": {}, "report": {}, "query_task": {"ids": ["none"]}, "memdump": {},
    "objgraph": {}, "hello": {"from_node": "new@test"}, "conf": {"with_defaults": False},
}  # fmt: skip
CONTROL: dict[str, dict[str, Any]] = {
    "pool_grow": {"n": 1}, "pool_shrink": {"n": 1}, "autoscale": {"max": 3, "min": 1},
    "rate_limit": {"task_name": "works.add", "rate_limit": "5/s"},
    "time_limit": {"task_name": "none", "soft": 1, "hard": 2}, "enable_events": {}, "disable_events": {},
    "add_consumer": {"queue": "more"}, "cancel_consumer": {"queue": "more"}, "heartbeat": {},
    "revoke": {"task_id": ["a"]}, "terminate": {"task_id": ["a"], "signal": "KILL"},
    "revoke_by_stamped_headers": {"headers": {"a": ["b"]}},
    "nosuch": {},
}  # fmt: skip
FREE = {"conf", "total", "pool", "transport_options", "rusage"}
"""Mappings whose keys depend on what is in them."""


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[Celery, Celery]]:
    """Celery's clients of a Celery worker and of a greenq worker, each at a place of its own."""
    place = tmp_path
    theirs, ours = shared_redis().empty(), shared_redis().empty()
    fleet = Fleet(place, ours)
    environment = {**os.environ, "STEERED_URL": theirs, "PYTHONPATH": str(ROOT), "C_FORCE_ROOT": "1"}
    with (place / "celery.log").open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.greenq.control.celery_works", "worker",
             "-n", "it@test", "-P", "gevent", "-c", "2", "--without-mingle"],
            env=environment, cwd=place, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        fleet.embedded("it@test", 2)
        clients = make(theirs), make(ours)
        for client in clients:
            until(lambda client=client: client.control.ping(timeout=1.0), "an answer")  # type: ignore[misc]
        yield clients
    finally:
        worker.kill()
        worker.wait()
        fleet.close()


def answer(client: Celery, command: str, arguments: dict[str, Any]) -> Any:
    found = client.control.broadcast(
        command, arguments=arguments, destination=["it@test"], reply=True, timeout=PATIENCE
    )
    assert len(found) == 1
    return found[0]["it@test"]


def shape(value: Any, name: str = "") -> Any:
    """Keys and types, without what they hold."""
    if isinstance(value, dict):
        return dict if name in FREE else {key: shape(one, key) for key, one in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else list
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def test_every_command_is_answered_alike(asked: tuple[Celery, Celery]) -> None:
    # In one test, as each process that runs some of several would start workers of its own.
    for command, arguments in sorted((INSPECT | CONTROL).items()):
        theirs, ours = (shape(answer(client, command, arguments), command) for client in asked)
        if command == "stats":
            for told in (theirs, ours):
                del told["broker"]["connect_timeout"]  # Celery's own workers differ there, by their pool
        assert ours == theirs, command
    _running_tasks(*asked)
    _waiting_tasks(*asked)


def _begun(client: Celery) -> Any:
    """What is told of a task, once it has begun: one that is about to has no time yet."""
    found: list[Any] = []

    def begun() -> bool:
        found[:] = [one for one in answer(client, "active", {}) if one["time_start"] is not None]
        return bool(found)

    until(begun, "a task that runs")
    return found[0]


def _running_tasks(*clients: Celery) -> None:
    described = []
    for client in clients:
        client.send_task("works.sleep", (2,))
        described.append(_begun(client))
    assert shape(described[1]) == shape(described[0])
    assert described[1]["args"] == described[0]["args"] == [2]


def _waiting_tasks(*clients: Celery) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    described = []
    for client in clients:
        client.send_task("works.sleep", (3,), eta=eta)
        found: list[Any] = []
        until(lambda client=client, found=found: found.extend(answer(client, "scheduled", {})) or found)  # type: ignore[misc]
        described.append(found[0])
    assert shape(described[1]) == shape(described[0])
    assert described[1]["eta"] == described[0]["eta"] == eta.isoformat()
    assert described[1]["request"]["args"] == [3]
