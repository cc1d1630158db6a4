"""Chords whose workers die: every member counts once, and the body is sent all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from greenq import GreenQ
from greenq.canvas import chord
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until

HERE = Path(__file__).parent
PATIENCE = 120.0
MEMBERS = 60


class Place:
    """Broker, store and ledger of one test, and the worker on them."""

    def __init__(self, kind: str, path: Path) -> None:
        self.path = path
        broker = results = f"sqlite:///{path}/greenq.db"
        if kind != "sqlite":
            results = shared_redis().empty()
            broker = results if kind == "redis" else shared_rabbit().empty()
        self.environment = {"GREENQ_BROKER_URL": broker, "GREENQ_RESULTS_URL": results}
        self.app = GreenQ("workflows", broker=broker, results=results)
        self.app.broker.declare(["celery"])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        with (self.path / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "greenq", "worker", "-A", "workflows", "-P", "gevent", "-c", "5"],
                cwd=self.path,
                env={**os.environ, "PYTHONPATH": str(HERE), **self.environment, **environment},
                stdout=log,
                stderr=log,
            )
        until(lambda: "config" in self.log or self.process.poll() is not None, "the banner", PATIENCE)
        assert self.process.poll() is None, self.log

    def kill_worker(self) -> None:
        """Kill the worker process; its supervisor starts another one."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            child.kill()

    @property
    def log(self) -> str:
        return (self.path / "log").read_text()

    def lines(self, kind: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            lines = (self.path / "ledger").read_text().splitlines()
            return [line for line in lines if line.startswith(kind)]
        return []

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.app.close()


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(kind, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis", "amqp"])
def test_a_worker_that_is_killed_among_the_members_changes_nothing_for_the_body(place: Place) -> None:
    place.start()
    member, body = (place.app.signature(f"workflows.{name}") for name in ("member", "body"))
    result = chord([member.clone((n, 0.05)) for n in range(MEMBERS)], body).apply_async()
    until(lambda: len(place.lines("member")) > MEMBERS // 4, "some members", PATIENCE)
    place.kill_worker()
    assert result.get(timeout=PATIENCE) == sum(range(MEMBERS)), place.log
    assert place.lines("body") == [f"body {result.id} {sum(range(MEMBERS))} {MEMBERS}"]
    again = len(place.lines("member")) - MEMBERS
    assert 0 <= again <= 5, "more ran again than were in flight"


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_body_is_sent_though_the_process_that_counted_the_last_member_died_before(place: Place) -> None:
    place.start(WORKFLOWS_DIE="before the body")
    member, body = (place.app.signature(f"workflows.{name}") for name in ("member", "body"))
    result = chord([member.clone((n,)) for n in range(5)], body).apply_async()
    assert result.get(timeout=PATIENCE) == 10, place.log
    assert (place.path / "died").exists()
    assert place.lines("body") == [f"body {result.id} 10 5"]
