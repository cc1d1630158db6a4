"""Fill a queue, start a worker, and time it from the first task to the last."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

import psutil

from benchmarks import ledger
from benchmarks.peers import Peer
from benchmarks.place import Failed, Place

__all__ = ["drain", "stop"]

PATIENCE = 300.0
"""Seconds from a worker's start to its last task."""
STOPPING = 20.0
"""Seconds that a worker may take to stop before it is killed."""
LOOK, LOOK_FIRST = 0.1, 0.02
"""Seconds between looks at the ledger, and until the first tick."""
MIB = 1024 * 1024


def drain(
    peer: Peer,
    place: Place,
    task: str,
    count: int,
    *,
    concurrency: int,
    seconds: float = 0.0,
    results: bool = False,
) -> dict[str, float]:
    """Measure once.

    Parameters:
        task: ``noop``, which ticks once, or ``sleep``, which ticks when it begins and when it ends.
        seconds: how long ``sleep`` sleeps.
        results: whether what tasks return is to be stored.

    Returns:
        ``rate`` (tasks per second, first tick to last), ``wall`` (s), ``start`` (s from the command to the
        first task), ``cpu`` (µs of processor per task, the worker's processes together), ``rss`` (MiB of
        them, at the end), ``twice`` (tasks that ran more than once).

    Raises:
        Failed: the worker ended, or took longer than `PATIENCE`.
    """
    expected = count * (2 if task == "sleep" else 1)
    environ = place.environ(peer, 2 * expected + 1000, concurrency, seconds, results)
    place.load(type(peer).__module__, task, count, environ)
    log = place.directory / "worker.log"
    with log.open("wb") as output:
        began = time.monotonic()
        worker = subprocess.Popen(
            peer.worker(place.python, concurrency), cwd=place.directory, env=environ,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        cpu, rss = _wait(worker, place, expected)
    except Failed as failed:
        raise Failed(f"{peer.name}: {failed}\n{place.tail(log)}") from None
    finally:
        stop(worker)
    ticks = ledger.read(place.ledger)
    wall = ticks[-1] - ticks[0]
    return {
        "rate": count / wall,
        "wall": wall,
        "start": ticks[0] - began,
        "cpu": cpu / count * 1e6,
        "rss": rss / MIB,
        "twice": float(len(ticks) - expected) / (expected / count),
    }


def _wait(worker: subprocess.Popen[bytes], place: Place, expected: int) -> tuple[float, float]:
    """Wait for the last tick; the seconds of processor used since the first one, and the memory then."""
    deadline = time.monotonic() + PATIENCE
    before: dict[int, float] = {}
    while True:
        ticks = len(ledger.read(place.ledger))
        used = _used(worker.pid)
        if ticks and not before:
            before = {pid: cpu for pid, (cpu, _) in used.items()}
        if ticks >= expected:
            # Processes that run no task themselves have no first tick: for them the first look counts.
            before |= ledger.spent_before(place.ledger)
            cpu = sum(cpu - before.get(pid, 0.0) for pid, (cpu, _) in used.items())
            return cpu, float(sum(rss for _, rss in used.values()))
        if worker.poll() is not None:
            raise Failed(f"the worker ended with {worker.returncode} after {ticks} of {expected} ticks")
        if time.monotonic() > deadline:
            raise Failed(f"only {ticks} of {expected} ticks in {PATIENCE:g} s")
        time.sleep(LOOK if before else LOOK_FIRST)


def _used(pid: int) -> dict[int, tuple[float, int]]:
    """Give the processor time (s) and resident memory (bytes) of a process and its children."""
    used: dict[int, tuple[float, int]] = {}
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used[process.pid] = (times.user + times.system, process.memory_info().rss)
    return used


def stop(worker: subprocess.Popen[bytes]) -> None:
    """End a worker and all that it has started."""
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(STOPPING)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait(STOPPING)
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
