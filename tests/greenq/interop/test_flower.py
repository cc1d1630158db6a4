"""Flower, as it is released, watches and steers a greenq worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from greenq.errors import TaskRevoked
from tests.greenq.control.conftest import ROOT, Fleet
from tests.servers import free_port, shared_redis
from tests.waiting import PATIENCE, until

NODE, SCALED = "plain@test", "scaled@test"


class Flower:
    """A running Flower.

    Parameters:
        base: where it answers.
    """

    def __init__(self, base: str) -> None:
        self._base = base

    def get(self, path: str, **query: Any) -> Any:
        """What is at a path: JSON as what it says, else text."""
        return self._call("GET", path, query)

    def post(self, path: str, **query: Any) -> Any:
        """What it says of something that it was told to do; again while it does not know the worker yet."""
        said: list[Any] = []

        def done() -> bool:
            said.append(self._call("POST", path, query))
            return said[-1] is not None

        until(done, f"Flower's answer to {path}")
        return said[-1]

    def _call(self, method: str, path: str, query: dict[str, Any]) -> Any:
        url = f"{self._base}{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                text = response.read().decode()
        except (urllib.error.URLError, OSError):
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text

    def worker(self, node: str) -> dict[str, Any]:
        """What it knows of a worker, asked anew; empty if nothing yet."""
        found = self.get("/api/workers", refresh="1", workername=node)
        return (found or {}).get(node) or {}

    def task(self, id: str) -> dict[str, Any]:
        """What it knows of a task."""
        return self.get(f"/api/task/info/{id}") or {}


@contextmanager
def flower(path: Path, url: str) -> Iterator[Flower]:
    """Run one that knows the tasks by name."""
    port = free_port()
    environment = os.environ | {
        "FLOWER_UNAUTHENTICATED_API": "true", "C_FORCE_ROOT": "1", "STEERED_URL": url, "PYTHONPATH": str(ROOT)
    }  # fmt: skip
    with (path / "flower.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.greenq.control.celery_works", "flower",
             f"--port={port}", "--address=127.0.0.1", "--inspect_timeout=5000"],
            cwd=path, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    made = Flower(f"http://127.0.0.1:{port}")
    try:
        until(lambda: made.get("/healthcheck") or process.poll() is not None, "Flower's start")
        assert process.poll() is None, (path / "flower.log").read_text()
        yield made
    finally:
        process.kill()
        process.wait()


def size(seen: Flower, node: str) -> int | None:
    return seen.worker(node).get("stats", {}).get("pool", {}).get("max-concurrency")


def queues(seen: Flower, node: str) -> list[str]:
    return [queue["name"] for queue in seen.worker(node).get("active_queues") or ()]


def test_flower_sees_and_steers_a_greenq_worker(tmp_path: Path) -> None:
    url = shared_redis().empty()
    fleet = Fleet(tmp_path, url)
    try:
        worker = fleet.command("-c", "4", "-E", node=NODE)
        scaled = fleet.command("--autoscale", "6,2", "-Q", "elsewhere", node=SCALED)
        with flower(tmp_path, url) as seen:
            until(lambda: seen.worker(NODE).get("registered") and seen.worker(SCALED).get("registered"))
            about = seen.worker(NODE)
            assert "works.add" in about["registered"]
            assert {"stats", "active_queues", "conf", "active", "reserved", "scheduled", "revoked"} <= set(
                about
            )
            _its_pages(seen)
            _the_states_of_tasks(seen, fleet)
            _changing_the_pool(seen)
            _limits(seen, fleet)
            _revoking(seen, fleet)
            seen.post(f"/api/worker/shutdown/{NODE}")
            assert worker.wait() == 0, worker.output
            assert scaled.process.poll() is None
    finally:
        fleet.close()


def _its_pages(seen: Flower) -> None:
    for page in ("/workers", f"/worker/{NODE}", "/tasks", "/broker", "/metrics"):
        until(lambda page=page: isinstance(seen.get(page), str), page)  # type: ignore[misc]
    assert NODE in seen.get(f"/worker/{NODE}")


def _the_states_of_tasks(seen: Flower, fleet: Fleet) -> None:
    good, bad = fleet.app.send_task("works.add", (1, 2)), fleet.app.send_task("works.fail")
    until(lambda: seen.task(good.id).get("state") == "SUCCESS", "the task's success")
    told = seen.task(good.id)
    assert (told["name"], told["result"], told["args"]) == ("works.add", "3", "(1, 2)")
    assert told["runtime"] >= 0
    assert told["worker"] == NODE
    until(lambda: seen.task(bad.id).get("state") == "FAILURE", "the task's failure")
    assert "as it should" in seen.task(bad.id)["exception"]
    assert "ValueError" in seen.task(bad.id)["traceback"]
    assert seen.get(f"/task/{good.id}")


def _changing_the_pool(seen: Flower) -> None:
    assert "Growing" in seen.post(f"/api/worker/pool/grow/{NODE}", n=3)["message"]
    until(lambda: size(seen, NODE) == 7, "the pool's growth")
    seen.post(f"/api/worker/pool/shrink/{NODE}", n=2)
    until(lambda: size(seen, NODE) == 5, "the pool's shrinking")
    assert "Autoscaling" in seen.post(f"/api/worker/pool/autoscale/{SCALED}", min=3, max=9)["message"]
    until(lambda: seen.worker(SCALED).get("stats", {}).get("autoscaler", {}).get("max") == 9)
    seen.post(f"/api/worker/queue/add-consumer/{NODE}", queue="extra")
    until(lambda: "extra" in queues(seen, NODE), "the new queue")
    seen.post(f"/api/worker/queue/cancel-consumer/{NODE}", queue="extra")
    until(lambda: "extra" not in queues(seen, NODE), "the queue's end")


def _limits(seen: Flower, fleet: Fleet) -> None:
    assert (
        "success"
        in seen.post("/api/task/rate-limit/works.add", workername=NODE, ratelimit="100/s")["message"]
    )
    assert fleet.app.send_task("works.add", (2, 2)).get(timeout=PATIENCE) == 4
    said = seen.post("/api/task/timeout/works.sleep", workername=NODE, soft="300", hard="1")["message"]
    assert "success" in said
    late = fleet.app.send_task("works.sleep", (600,))
    until(late.ready, "the time limit")
    until(lambda: seen.task(late.id).get("state") == "FAILURE", "the failure at the limit")
    assert "TimeLimitExceeded" in seen.task(late.id)["exception"]


def _revoking(seen: Flower, fleet: Fleet) -> None:
    running = fleet.app.send_task("works.stubborn", (str(fleet.path / "ledger"),))
    until(lambda: seen.task(running.id).get("state") == "STARTED", "the task's start")
    seen.post(f"/api/task/revoke/{running.id}", terminate="true", signal="SIGKILL")
    until(lambda: seen.task(running.id).get("state") == "REVOKED", "its end as revoked")
    until(running.ready)
    assert running.state == "REVOKED"
    with pytest.raises(TaskRevoked, match="terminated"):
        running.get(timeout=PATIENCE)
