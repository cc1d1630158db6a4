"""What a worker needs of memory: idle, for each running task, and after many."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.drain import MIB
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.working import Used, Worker, working
from benchmarks.workloads import Column, Figures, Workload

__all__ = ["WORKLOADS"]

HELD = 300.0
"""Seconds that a task runs that is there to be looked at."""
SETTLING, STEP = 5.0, 0.25
"""Seconds within which memory comes to rest, and between two looks at it."""
SAME = 64 * 1024
"""Bytes by which memory at rest may change from look to look."""
WARM = 0.1
"""The part of a long run after which memory must not grow any more."""


@dataclass(frozen=True)
class Memory(Workload):
    """A worker that has run one task, and then runs `count` at once."""

    def tasks(self, peer: Peer, count: int) -> int:
        """As many for each peer: how quickly it works through them is not the question."""
        return min(count, self.most or count)

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        held = Job(task="sleep", count=count, concurrency=max(count, 1000), seconds=HELD)
        environ = place.environ(peer, held)
        first = Job(task="noop", count=1, concurrency=held.concurrency)
        with working(peer, place, held, environ, drained=False) as worker:
            place.load(peer, first)
            worker.wait_for(1)
            idle = _at_rest(worker)
            figures = _idle(idle)
            if not peer.many:
                return figures
            place.load(peer, held)
            worker.wait_for(1 + count)
            grown = _total(_at_rest(worker)) - _total(idle)
        return figures | {"task": grown / count / 1024, "tasks": count}


@dataclass(frozen=True)
class Flat(Workload):
    """One long drain: memory when a tenth is done, and at the end."""

    def suits(self, peer: Peer) -> bool:
        """Whether it is ours: others are known to be slow here, and their memory is their own affair."""
        return peer.name.startswith("greenq") and peer.redis

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        job = Job(task="noop", count=count)
        place.load(peer, job)
        with working(peer, place, job, place.environ(peer, job)) as worker:
            worker.wait_for(int(count * WARM), 0.02)
            early = _total(worker.used())
            ticks = worker.wait_for(1)
            worker.wait_for(count)
            # What they write down is in memory too.
            late = _total(worker.used()) - 8 * (count - ticks)
        return {"grown": (late - early) / MIB, "early": early / MIB, "late": late / MIB, "tasks": count}


def _total(used: dict[int, Used]) -> int:
    return sum(process.rss for process in used.values())


def _idle(used: dict[int, Used]) -> Figures:
    """Tell the workers from what watches over them: it is what the harness started, if that has children."""
    workers = [process.rss for process in used.values() if not process.root]
    watching = [process.rss for process in used.values() if process.root]
    figures = {"all": _total(used) / MIB, "worker": max(workers or watching) / MIB}
    return figures | ({"supervisor": max(watching) / MIB} if workers else {})


def _at_rest(worker: Worker) -> dict[int, Used]:
    until = time.monotonic() + SETTLING
    found = worker.used()
    while time.monotonic() < until:
        time.sleep(STEP)
        before, found = found, worker.used()
        if abs(_total(found) - _total(before)) < SAME:
            break
    return found


WORKLOADS = (
    Memory(
        "memory", "resident memory: idle, and for each of 10,000 running tasks",
        compared="all", higher=False, most=10_000,
        columns=(
            Column("all processes, MiB", "all", 1),
            Column("worker, MiB", "worker", 1),
            Column("supervisor, MiB", "supervisor", 1),
            Column("each running task, KiB", "task", 1),
        ),
    ),
    Flat(
        "flat", "resident memory over a million tasks, MiB",
        compared="late", higher=False, times=10, chiefs=True,
        columns=(
            Column("grown", "grown", 1),
            Column("after a tenth", "early", 1),
            Column("at the end", "late", 1),
        ),
    ),
)  # fmt: skip
