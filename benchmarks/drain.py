"""Fill a queue, start a worker, and time it from the first task to the last."""

from __future__ import annotations

from benchmarks import ledger
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.working import working

__all__ = ["MIB", "drain"]

LOOK_FIRST = 0.02
"""Seconds between looks at the ledger until the first tick."""
MIB = 1024 * 1024


def drain(peer: Peer, place: Place, job: Job, through: Place | None = None) -> dict[str, float]:
    """Measure once.

    Parameters:
        through: where the worker finds its server, if it is not to find it where calls are sent.

    Returns:
        ``rate`` (tasks per second, first tick to last), ``wall`` (s), ``start`` (s from the command to the
        first task), ``cpu`` (µs of processor per task, the worker's processes together), ``rss`` (MiB of
        them, at the end), ``twice`` (tasks that ran more than once), ``tasks`` (how many there were).

    Raises:
        Failed: a program ended, or took too long.
    """
    place.load(peer, job)
    environ = (through or place).environ(peer, job)
    with working(peer, place, job, environ) as worker:
        worker.wait_for(1, LOOK_FIRST)
        before = {pid: used.cpu for pid, used in worker.used().items()}
        worker.wait_for(job.ticks)
        # Processes that run no task themselves have no first tick: for them the first look counts.
        before |= ledger.spent_before(place.ledger)
        after = worker.used()
    ticks = ledger.read(place.ledger)
    wall = ticks[-1] - ticks[0]
    cpu = sum(used.cpu - before.get(pid, 0.0) for pid, used in after.items())
    return {
        "rate": job.count / wall,
        "wall": wall,
        "start": ticks[0] - worker.began,
        "cpu": cpu / job.count * 1e6,
        "rss": sum(used.rss for used in after.values()) / MIB,
        "twice": float(len(ticks) - job.ticks) / (job.ticks / job.count),
        "tasks": job.count,
    }
