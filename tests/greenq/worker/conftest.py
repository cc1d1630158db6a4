"""Real workers in real processes on a real SQLite file, and an application to send with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from greenq import AsyncResult, GreenQ
from tests.waiting import PATIENCE, until

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Worker:
    """A `greenq worker` command under test."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_ready(self) -> None:
        until(lambda: "config" in self.output or self.process.poll() is not None, what="the banner")
        assert self.process.poll() is None, self.output

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, timeout: float = PATIENCE) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end:\n{self.output}") from None

    def children(self) -> list[int]:
        """Process ids of the supervisor's workers."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]


class Shop:
    """A directory with an embedded database, the test application, and workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = str(path / "ledger")
        url = f"sqlite:///{path}/greenq.db"
        # A busy machine syncs its disk for many tests at once.
        self.app = GreenQ("shop", broker={"url": url, "publish_timeout": "60s"}, results=url)
        self.workers: list[Worker] = []

    def worker(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        ready: bool = True,
        output: int | None = None,
        through: Sequence[str] = (),
    ) -> Worker:
        """Start one; its output goes to a file, or where `output` says.

        Parameters:
            through: options of a Python program that then runs what follows as Python's options.
        """
        if output is not None:
            return self._start(arguments, env, output, Path(os.devnull))
        path = self.path / f"worker-{len(self.workers)}.log"
        with path.open("wb") as log:
            worker = self._start(arguments, env, log.fileno(), path, through)
        if ready:
            worker.wait_ready()
        return worker

    def _start(
        self,
        arguments: Sequence[str],
        env: dict[str, str] | None,
        stream: int,
        output: Path,
        through: Sequence[str] = (),
    ) -> Worker:
        process = subprocess.Popen(
            [sys.executable, *through, "-m", "greenq", "worker", "-A", "shop", *arguments],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}", **(env or {})},
            stdout=stream,
            stderr=stream,
        )
        worker = Worker(process, output)
        self.workers.append(worker)
        return worker

    def send(self, name: str, *args: object, **options: object) -> AsyncResult:
        return self.app.send_task(f"shop.{name}", args, **options)

    def lines(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError), open(self.ledger) as file:
            return file.read().splitlines()
        return []

    def depth(self, queue: str = "celery"):
        return self.app.broker.depth()[queue]

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                for pid in [*worker.children(), worker.process.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                worker.process.wait()
        self.app.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    try:
        yield shop
    finally:
        shop.close()
