"""One worker of greenq's that serves the Celery application `shop`, and a Celery client of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery  # type: ignore[import-untyped]

from tests.servers import shared_redis
from tests.waiting import until

ROOT = Path(__file__).parents[4]
MODULE = "tests.greenq.contrib.celery.shop"
PATIENCE = 90.0


@dataclass
class Shop:
    """The application `shop`, from outside."""

    url: str
    app: Celery
    log: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [sys.executable, "-m", "greenq", "worker", "-A", MODULE, *options]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | {"SHOP_URL": self.url}, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def send(self, task: str, *args: Any, **options: Any) -> Any:
        """Send a call."""
        return self.app.send_task(f"{MODULE}.{task}", args, **options)

    def call(self, task: str, *args: Any, **options: Any) -> Any:
        """Send a call and wait for what it returns."""
        return self.send(task, *args, **options).get(timeout=PATIENCE)

    def sign(self, task: str, *args: Any, **options: Any) -> Any:
        """A signature of a task."""
        return self.app.signature(f"{MODULE}.{task}", args, **options)

    def notes(self, having: str = "") -> list[str]:
        """What the application has noted."""
        with self.app.connection_for_read() as connection:
            lines = connection.default_channel.client.lrange("notes", 0, -1)
        return [line.decode() for line in lines if having in line.decode()]

    def until_noted(self, *texts: str) -> list[str]:
        """Wait until all of these are among the notes; the notes."""
        until(lambda: all(self.notes(text) for text in texts), patience=PATIENCE)
        return self.notes()


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Shop]]:
    """Makes shops with a database of their own each; their workers end with the tests."""
    made: list[Shop] = []

    def make() -> Shop:
        url = shared_redis().empty()
        client = Celery("client", broker=url, backend=url, set_as_current=False)
        made.append(Shop(url, client, tmp_path_factory.mktemp("shop") / "log"))
        return made[-1]

    yield make
    for shop in made:
        for process in shop.processes:
            process.kill()
            process.wait()
        shop.app.close()


@pytest.fixture(scope="module")
def shop(make_shop: Callable[[], Shop]) -> Shop:
    """A shop with a worker that takes tasks."""
    made = make_shop()
    made.start()
    assert made.call("add", 1, 1) == 2, made.log.read_text()
    return made
