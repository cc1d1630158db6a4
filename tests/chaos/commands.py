"""`greenq worker` commands under faults, and what can be done to them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.chaos.ledger import UP, Follower, Ledger
from tests.chaos.sites import Site

__all__ = ["CONCURRENCY", "Command"]

ROOT = Path(__file__).parents[2]
CONCURRENCY = {"gevent": 100, "eventlet": 100, "prefork": 4, "threads": 20}
"""How many tasks run at once in each worker process, by pool."""
CALM = 15.0
"""Seconds without a death after which the next one is answered at once, and not later each time."""
READY = 60.0
"""Seconds until a command counts as one that will not come up: generous, for a busy machine."""


class Command:
    """One supervisor and its workers.

    Parameters:
        settings: of `greenq.config`, dotted, such as ``{"worker.lease": "2s"}``.
        failpoint: the file that arms crashes, if there are to be any.
        environment: further variables of its processes.
        name: of its nodes and its log.
    """

    def __init__(
        self,
        site: Site,
        pool: str,
        *,
        processes: int = 1,
        settings: dict[str, str] | None = None,
        failpoint: Path | None = None,
        environment: dict[str, str] | None = None,
        name: str = "worker",
        app: str = "tests.chaos.tasks",
    ) -> None:
        self._ledger = Ledger(site.ledger)
        self._follower = Follower(site.ledger)
        self._up: set[int] = set()
        self._log = site.path / f"{name}.log"
        chosen = {"worker.concurrency": str(CONCURRENCY[pool]), **(settings or {})}
        values = {f"GREENQ_{key.replace('.', '_').upper()}": value for key, value in chosen.items()}
        self._environment = {
            **os.environ, **values, **(environment or {}),
            "GREENQ_BROKER_URL": site.broker,
            "GREENQ_RESULTS_URL": site.results,
            "CHAOS_LEDGER": str(site.ledger),
            "PYTHONPATH": str(ROOT),
            # An installed package is compiled: a restart must not wait for that.
            "PYTHONDONTWRITEBYTECODE": "",
        }  # fmt: skip
        if failpoint is not None:
            self._environment["CHAOS_FAILPOINT"] = str(failpoint)
        self._arguments = [
            "-A", app, "-P", pool, "--processes", str(processes), "-n", f"{name}-%i@%h",
            "-l", "warning",
        ]  # fmt: skip
        self._directory = site.path
        self._expected = processes
        self._struck = float("-inf")
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "greenq", "worker", *self._arguments],
                cwd=self._directory, env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip
        self.born = time.monotonic()

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> None:
        """Wait until all its workers have come up."""
        deadline = time.monotonic() + READY
        while len(self.ready()) < self._expected:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"it does not come up:\n{self.log}"
            time.sleep(0.02)

    def ready(self) -> list[int]:
        """The ids of its worker processes that have come up."""
        self._up.update(entry.process for entry in self._follower.read() if entry.kind == UP)
        return [pid for pid in self.workers() if pid in self._up]

    def workers(self) -> list[int]:
        """The ids of its worker processes."""
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.process.pid).children() if _leads(child.pid)]
        return []

    # ── faults ───────────────────────────────────────────────────────────────────────────────────────────

    def kill_worker(self, pid: int) -> None:
        """SIGKILL one worker process."""
        now = time.monotonic()
        self._ledger.fault("repeated" if now - self._struck < CALM else "kill", pid)
        self._struck = now
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_child(self, worker: int, pid: int) -> None:
        """SIGKILL a process that runs tasks for a worker."""
        self._ledger.fault("child", worker, pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_supervisor(self) -> None:
        """SIGKILL the supervisor; the kernel ends its workers."""
        for pid in self.workers():
            self._ledger.fault("orphaned", pid)
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start the command anew once it has ended."""
        self._struck = float("-inf")
        self._start()

    def stop(self, timeout: float) -> tuple[int | None, float]:
        """SIGTERM the supervisor; the exit code, None if it had to be killed, and the seconds it took."""
        for pid in self.workers():
            self._ledger.fault("term", pid)
        began = time.monotonic()
        self.process.terminate()
        try:
            code: int | None = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            self.close()
        return code, time.monotonic() - began

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            for pid in [*self.workers(), self.process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


def _leads(pid: int) -> bool:
    """Whether a process is the first of its group, as workers are."""
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False
