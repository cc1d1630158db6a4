"""Sending calls while no worker runs, confirmed if that is how the system ships."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.serving import ask
from benchmarks.workloads import Column, Figures, Workload

__all__ = ["WORKLOADS"]

SENT = Column("per second", "rate"), Column("CPU µs/call", "cpu")


@dataclass(frozen=True, kw_only=True)
class Enqueue(Workload):
    """What a producer waits for.

    Parameters:
        question: the name of a function in `benchmarks.asking`.
    """

    question: str

    def suits(self, peer: Peer) -> bool:
        """Whether the peer's module says how to send, and not like that of another configuration."""
        return peer.sends and (peer.bulk or self.question != "bulk")

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        job = Job(task="noop", count=count)
        found: Figures = ask(peer, place, self.question, job, worker=False)
        return found


WORKLOADS = (
    Enqueue("enqueue", "sending one by one", columns=SENT, question="sends"),
    Enqueue("bulk", "sending many together", columns=SENT, question="bulk"),
)
