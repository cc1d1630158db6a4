"""Where one measurement happens: a directory of its own, an interpreter, and a server."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ledger
from benchmarks.peers import CONCURRENCY, INSIDE, RABBIT, REDIS, RESULTS, SECONDS, VARIANT, Peer

__all__ = ["Failed", "Place"]

ROOT = Path(__file__).parent.parent
LOADING = 300.0
"""Seconds that filling the queue may take."""
TAIL = 2000
"""Characters of a failed program's output that are shown."""


class Failed(Exception):
    """A peer could not be measured; the message has the end of its output."""


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

    def environ(
        self, peer: Peer, slots: int, concurrency: int, seconds: float, results: bool
    ) -> dict[str, str]:
        """Give the environment of a peer's programs.

        Parameters:
            results: whether what tasks return is to be stored.
            slots: how many ticks one process may write down.
            concurrency: how many tasks run at once.
            seconds: how long the task ``sleep`` sleeps.
        """
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("GREENQ_", "CELERY_"))}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            CONCURRENCY: str(concurrency),
            INSIDE: "1",
            REDIS: self.redis or "",
            RABBIT: self.rabbit or "",
            RESULTS: str(int(results)),
            SECONDS: str(seconds),
            VARIANT: peer.variant,
            ledger.DIRECTORY: str(self.ledger),
            ledger.SLOTS: str(slots),
        }

    def load(self, module: str, task: str, count: int, environ: dict[str, str]) -> None:
        """Send `count` calls, before there is a worker.

        Raises:
            Failed: the program failed.
        """
        self.ledger.mkdir()
        command = [str(self.python), "-m", "benchmarks.load", module, task, str(count)]
        log = self.directory / "load.log"
        with log.open("wb") as output:
            done = subprocess.run(
                command, cwd=self.directory, env=environ, stdout=output, stderr=output, timeout=LOADING
            )
        if done.returncode:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{self.tail(log)}")

    def tail(self, log: Path) -> str:
        """Give the end of a program's output."""
        return log.read_text(errors="replace")[-TAIL:]
