"""Workers while they are measured: started, watched, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from benchmarks import ledger
from benchmarks.peers import Peer
from benchmarks.place import Failed, Job, Place

__all__ = ["Used", "Worker", "working"]

PATIENCE = 180.0
"""Seconds from a worker's start to its last task."""
STOPPING = 20.0
"""Seconds that a worker may take to stop before it is killed."""
LOOK = 0.1
"""Seconds between looks at the ledger."""


@dataclass(frozen=True)
class Used:
    """What one process has used.

    Parameters:
        cpu: seconds of processor.
        rss: resident memory (bytes).
        root: whether the harness started it, rather than a process of the system itself.
    """

    cpu: float
    rss: int
    root: bool


class Worker:
    """What `working` gives: one system's worker processes.

    Parameters:
        place: of their ledger.
        began: when the first was started (s of the monotonic clock).
    """

    def __init__(self, place: Place, processes: Sequence[subprocess.Popen[bytes]], began: float) -> None:
        self._place = place
        self._processes = processes
        self.began = began

    def wait_for(self, ticks: int, look: float = LOOK) -> int:
        """Return when the tasks have ticked so often; gives how often they have.

        Raises:
            Failed: a worker ended, or it took longer than `PATIENCE`.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            found = ledger.count(self._place.ledger)
            if found >= ticks:
                return found
            for process in self._processes:
                if process.poll() is not None:
                    raise Failed(f"the worker ended with {process.returncode} after {found} of {ticks} ticks")
            if time.monotonic() > deadline:
                raise Failed(f"only {found} of {ticks} ticks in {PATIENCE:g} s")
            time.sleep(look)

    def used(self) -> dict[int, Used]:
        """Look at the processes and their children, by process id."""
        used: dict[int, Used] = {}
        for started in self._processes:
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(started.pid)
                for process in [parent, *parent.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        times = process.cpu_times()
                        rss = process.memory_info().rss
                        used[process.pid] = Used(times.user + times.system, rss, process is parent)
        return used


@contextmanager
def working(
    peer: Peer, place: Place, job: Job, environ: Mapping[str, str], *, drained: bool = True
) -> Iterator[Worker]:
    """Run a peer's workers.

    Parameters:
        environ: theirs.
        drained: whether they are to be asked to stop, rather than killed with the tasks that they run.

    Raises:
        Failed: what was done with them failed, with the end of their output.
    """
    log = place.directory / "worker.log"
    place.ledger.mkdir(exist_ok=True)
    processes: list[subprocess.Popen[bytes]] = []
    with log.open("wb") as output:
        try:
            began = time.monotonic()
            for command in peer.workers(place.python, job.concurrency, job.processes):
                processes.append(
                    subprocess.Popen(
                        command, cwd=place.directory, env=dict(environ),
                        stdout=output, stderr=output, start_new_session=True,
                    )
                )  # fmt: skip
            yield Worker(place, processes, began)
        except Failed as failed:
            raise Failed(f"{peer.name}: {failed}\n{place.tail(log)}") from None
        finally:
            _stop(processes, drained)


def _stop(processes: Sequence[subprocess.Popen[bytes]], drained: bool) -> None:
    """End workers and all that they have started."""
    if drained:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOPPING
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOPPING)
