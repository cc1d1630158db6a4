"""A real Celery worker and a real greenq worker at one place, and producers of both kinds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from greenq.worker.ahead import MOST
from greenq.worker.settler import LEAST_OUTCOMES, OUTCOMES_PER_SLOT
from tests.greenq.interop import celery_side, greenq_side
from tests.processes import stop
from tests.waiting import PATIENCE, until

__all__ = ["AT_RISK", "Sides", "adopting_worker", "both", "celery_worker", "greenq_worker", "mixed_fleet"]

ROOT = Path(__file__).parents[3]
SLOTS = 10
AT_RISK = MOST + 2 * SLOTS + max(LEAST_OUTCOMES, OUTCOMES_PER_SLOT * SLOTS)
"""Tasks that run, or have run and are not acknowledged, in one greenq worker at most."""


@contextmanager
def _running(command: list[str], broker: str, results: str, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "output"
        environment = os.environ | {
            "INTEROP_BROKER": broker, "INTEROP_RESULTS": results,
            "PYTHONPATH": str(ROOT), "C_FORCE_ROOT": "1", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=directory, env=environment, stdout=stream, stderr=stream
            )
        try:
            until(lambda: ready in output.read_text() or process.poll() is not None, f"{command[0]}'s start")
            assert process.poll() is None, output.read_text()
            yield process
        finally:
            stop(process, 20)


def celery_worker(broker: str, results: str, queue: str = celery_side.QUEUE, name: str = "c") -> Any:
    """Run a Celery worker for the duration of a ``with`` block."""
    command = [
        "celery", "-A", "tests.greenq.interop.celery_side", "worker", "-P", "threads", "-c", "4", "-Q", queue,
        "-n", f"{name}@interop", "--without-gossip", "--without-mingle", "-l", "info",
    ]  # fmt: skip
    return _running(command, broker, results, "ready.")


def greenq_worker(
    broker: str, results: str, queue: str = greenq_side.QUEUE, pool: str = "gevent", concurrency: int = SLOTS
) -> Any:
    """Run a greenq worker for the duration of a ``with`` block."""
    command = [
        "greenq", "worker", "-A", "tests.greenq.interop.greenq_side", "-P", pool, "-c", str(concurrency),
        "-Q", queue,
    ]  # fmt: skip
    return _running(command, broker, results, "config")


def adopting_worker(broker: str, results: str, pool: str = "gevent", concurrency: int = SLOTS) -> Any:
    """Run a greenq worker that serves the Celery application for the duration of a ``with`` block."""
    command = [
        "greenq", "worker", "-A", "tests.greenq.interop.celery_side", "-P", pool, "-c", str(concurrency)
    ]  # fmt: skip
    return _running(command, broker, results, "config")


class Sides:
    """Sends from either side to either side.

    Attributes:
        greenq, celery: the applications, as producers.
    """

    def __init__(self, broker: str, results: str) -> None:
        self.greenq = greenq_side.make(broker, results)
        self.celery = celery_side.make(broker, results)

    def send(self, producer: str, worker: str, task: str, *args: Any, **options: Any) -> Any:
        """Send a call; a result whose `get` waits."""
        queue = celery_side.QUEUE if worker == "celery" else greenq_side.QUEUE
        app: Any = self.celery if producer == "celery" else self.greenq
        kwargs = options.pop("kwargs", None)
        return app.send_task(f"interop.{task}", args, kwargs, queue=queue, **options)

    def close(self) -> None:
        """Let go of connections."""
        self.greenq.close()
        self.celery.close()


@contextmanager
def both(broker: str, results: str) -> Iterator[Sides]:
    """Run a worker of each kind."""
    with celery_worker(broker, results), greenq_worker(broker, results):
        sides = Sides(broker, results)
        try:
            yield sides
        finally:
            sides.close()


def mixed_fleet(broker: str, results: str, ledger: Path, count: int) -> Counter[int]:
    """Let two workers and a producer of each kind work off so many tasks; how often each ran.

    One greenq worker process is killed in the middle.

    Parameters:
        ledger: an empty directory.
    """
    os.environ["INTEROP_LEDGER"] = str(ledger)
    sides = Sides(broker, results)
    queue = "mixed"
    with (
        greenq_worker(broker, results, queue) as victim,
        greenq_worker(broker, results, queue, pool="threads"),
        celery_worker(broker, results, queue, name="one"),
        celery_worker(broker, results, queue, name="two"),
    ):
        note: Any = sides.greenq.tasks["interop.note"]
        for start in range(0, count, 1000):
            numbers = range(start, min(start + 1000, count))
            sides.greenq.send_many((note.call(n) for n in numbers if n % 2), queue=queue)
            for number in numbers:
                if number % 2 == 0:
                    sides.celery.send_task("interop.note", (number,), queue=queue, ignore_result=True)
            if start == count // 2000 * 1000:
                for child in psutil.Process(victim.pid).children():
                    child.kill()
        until(lambda: len(_ledger(ledger)) == count, "the end of the work", PATIENCE * 3)
    sides.close()
    return _ledger(ledger)


def _ledger(ledger: Path) -> Counter[int]:
    return Counter(int(line) for page in ledger.iterdir() for line in page.read_text().split())
