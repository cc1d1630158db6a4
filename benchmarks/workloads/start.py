"""Starting: from the command to the first task."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import ledger
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.working import working
from benchmarks.workloads import Column, Figures, Workload

__all__ = ["WORKLOADS"]


@dataclass(frozen=True)
class Start(Workload):
    """One call waits in the queue."""

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        job = Job(task="noop", count=1)
        place.load(peer, job)
        with working(peer, place, job, place.environ(peer, job)) as worker:
            worker.wait_for(1, 0.01)
        return {"start": ledger.read(place.ledger)[0] - worker.began, "tasks": 1}


WORKLOADS = (
    Start(
        "start", "from the command to the first task, s",
        compared="start", higher=False, columns=(Column("seconds", "start", 2),),
    ),
)  # fmt: skip
