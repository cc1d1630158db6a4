"""Workers that are steered: embedded ones, which start at once, and commands, whose tasks can be ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import greenq
from greenq import GreenQ
from pools.threads import ThreadPool
from tests.greenq.control.works import make
from tests.greenq.worker.conftest import Worker
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).parents[3]


class Fleet:
    """An application on a Redis of its own, and workers for it.

    Attributes:
        app: asks and tells them.
    """

    def __init__(self, path: Path, url: str, **settings: Any) -> None:
        self.path = path
        self.url = url
        self.app = make(url, **settings)
        self._settings = settings
        self._held = contextlib.ExitStack()
        self._held.callback(self.app.close)

    def embedded(self, node: str = "one@test", slots: int = 4, **worker: Any) -> greenq.Worker:
        """A worker in this process, on threads."""
        settings = {**self._settings, "worker": {"node": node, **worker}}
        app: GreenQ = make(self.url, **settings)
        pool = ThreadPool(slots)
        self._held.callback(pool.close, 0)
        started = greenq.Worker(app, pool=pool)
        started.start()
        self._held.callback(app.close)
        self._held.callback(started.stop, 0)
        return started

    def command(self, *options: str, node: str = "two@test") -> Worker:
        """A `greenq worker` command."""
        output = self.path / f"{node}.log"
        environment = {**os.environ, "STEERED_URL": self.url, "PYTHONPATH": str(ROOT)}
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "greenq", "worker", "-A", "tests.greenq.control.works", "-n", node,
                 *options],
                cwd=self.path, env=environment, stdout=stream, stderr=stream,
            )  # fmt: skip
        worker = Worker(process, output)
        self._held.callback(_end, worker)
        worker.wait_ready()
        return worker

    def ask(self, command: str, *nodes: str, **arguments: Any) -> Any:
        """The answers by node; waits for as many as there are nodes."""
        answers: dict[str, Any] = {}
        chosen = list(nodes) or ["one@test"]

        def asked() -> bool:
            found = self.app.control.broadcast(
                command, arguments, destination=chosen, reply=True, timeout=PATIENCE / 4
            )
            for one in found or ():
                answers.update(one)
            return len(answers) == len(chosen)

        until(asked, f"an answer to {command}")
        return answers if nodes else answers["one@test"]

    def close(self) -> None:
        self._held.close()


def _end(worker: Worker) -> None:
    if worker.process.poll() is None:
        for pid in [*worker.children(), worker.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        worker.process.wait()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, shared_redis().empty())
    try:
        yield made
    finally:
        made.close()
