"""Where one measurement happens: a directory of its own, an interpreter, and a server."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ledger, tasks
from benchmarks.peers import CONCURRENCY, INSIDE, RABBIT, REDIS, RESULTS, VARIANT, Peer

__all__ = ["ROOT", "TAIL", "Failed", "Job", "Place"]

ROOT = Path(__file__).parent.parent
LOADING = 180.0
"""Seconds that filling the queue may take."""
TAIL = 2000
"""Characters of a failed program's output that are shown."""


class Failed(Exception):
    """A peer could not be measured; the message has the end of its output."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done.

    Parameters:
        task: one of `benchmarks.tasks.NAMES`.
        count: how many calls.
        concurrency: how many of them one process runs at once.
        results: whether what tasks return is to be stored.
        seconds: how long the task ``sleep`` sleeps.
        port: of the HTTP server that the task ``fetch`` asks.
        size: of the argument (characters) of the task ``carry``.
        processes: how many worker processes.
    """

    task: str
    count: int
    concurrency: int = 1000
    results: bool = False
    seconds: float = 0.0
    port: int = 0
    size: int = 0
    processes: int = 1

    @property
    def ticks(self) -> int:
        """How often its tasks write down the time, all together."""
        return self.count * tasks.TICKS[self.task]


@dataclass(frozen=True)
class Place:
    """Runs a peer's programs.

    Parameters:
        directory: empty at first; the programs' working directory.
        python: the interpreter of the peer's environment.
        redis: the address of an empty Redis database, if the peer needs one.
        rabbit: the address of an empty RabbitMQ virtual host, if the peer needs one.
    """

    directory: Path
    python: Path
    redis: str | None = None
    rabbit: str | None = None

    @property
    def ledger(self) -> Path:
        """The directory in which tasks write down when they ran."""
        return self.directory / "ledger"

    def environ(self, peer: Peer, job: Job, slots: int | None = None) -> dict[str, str]:
        """Give the environment of a peer's programs.

        Parameters:
            slots: how many ticks one process may write down; otherwise twice those of the job.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GREENQ_", "CELERY_"))}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            # Peers are installed, and so compiled; greenq must not be compiled at each start either.
            "PYTHONDONTWRITEBYTECODE": "",
            CONCURRENCY: str(job.concurrency),
            INSIDE: "1",
            REDIS: self.redis or "",
            RABBIT: self.rabbit or "",
            RESULTS: str(int(job.results)),
            VARIANT: peer.variant,
            tasks.SECONDS: str(job.seconds),
            tasks.PORT: str(job.port),
            tasks.SIZE: str(job.size),
            ledger.DIRECTORY: str(self.ledger),
            ledger.SLOTS: str(slots or 2 * job.ticks + 1000),
        }

    def load(self, peer: Peer, job: Job) -> None:
        """Send the calls of a job.

        Raises:
            Failed: the program failed, or took longer than `LOADING`.
        """
        self.ledger.mkdir(exist_ok=True)
        command = [str(self.python), "-m", "benchmarks.load", type(peer).__module__, job.task, str(job.count)]
        log = self.directory / "load.log"
        with log.open("wb") as output:
            try:
                done = subprocess.run(
                    command, cwd=self.directory, env=self.environ(peer, job),
                    stdout=output, stderr=output, timeout=LOADING,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise Failed(f"{' '.join(command)} took longer than {LOADING:g} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{self.tail(log)}")

    def tail(self, log: Path) -> str:
        """Give the end of a program's output."""
        return log.read_text(errors="replace")[-TAIL:]
