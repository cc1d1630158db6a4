"""A real worker on a real broker, whose tasks write into a ledger: for tests in which it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from greenq import GreenQ
from greenq.message import Depth, Result
from tests.processes import stop
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until

__all__ = ["PATIENCE", "Place"]

HERE = Path(__file__).parent
PATIENCE = 120.0
"""Seconds for what takes one of them: machines may be busy."""


class Place:
    """Broker, store and ledger of one test, and the worker on them.

    Parameters:
        module: of this directory, with the tasks.
        kind: of broker: sqlite, redis or rabbitmq, whose results are in Redis.
        path: a directory of the test's own.
    """

    def __init__(self, module: str, kind: str, path: Path) -> None:
        self._module = module
        self.path = path
        self.ledger = str(path / "ledger")
        if kind == "sqlite":
            broker = results = f"sqlite:///{path}/greenq.db"
        else:
            results = shared_redis().empty()
            broker = results if kind == "redis" else shared_rabbit().empty()
        self.environment = {"GREENQ_BROKER_URL": broker, "GREENQ_RESULTS_URL": results}
        self.app = GreenQ(module, broker=broker, results=results)
        self.app.broker.declare(["celery"])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **environment: str) -> None:
        """Start a worker on gevent, and wait until it is up."""
        with (self.path / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "greenq",
                    "worker",
                    "-A",
                    self._module,
                    "--pool",
                    "gevent",
                    *arguments,
                ],
                cwd=self.path,
                env={**os.environ, "PYTHONPATH": str(HERE), **self.environment, **environment},
                stdout=log,
                stderr=log,
            )
        until(lambda: "config" in self.log or self.process.poll() is not None, "the banner", PATIENCE)
        assert self.process.poll() is None, self.log

    @property
    def log(self) -> str:
        return (self.path / "log").read_text()

    def lines(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError), open(self.ledger) as file:
            return file.read().splitlines()
        return []

    def child(self) -> int:
        """The process id of the one worker process."""
        assert self.process is not None
        [child] = psutil.Process(self.process.pid).children()
        return child.pid

    def depth(self) -> Depth:
        return self.app.broker.depth()["celery"]

    def ended(self, ids: list[str]) -> dict[str, Result]:
        assert self.app.results is not None
        return self.app.results.get(ids, PATIENCE)

    def kill_worker(self) -> None:
        """Kill the worker process; its supervisor starts another one."""
        os.kill(self.child(), signal.SIGKILL)

    def close(self) -> None:
        if self.process is not None:
            stop(self.process)
        self.app.close()
