"""Tasks that do nothing: what a message costs, without and with results."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.workloads import Figures, Workload

__all__ = ["WORKLOADS", "Noop"]


@dataclass(frozen=True)
class Noop(Workload):
    """From the first task's run to the last's.

    Parameters:
        results: whether each result is stored, and told to whoever waits.
    """

    results: bool = False

    def suits(self, peer: Peer) -> bool:
        """Whether the peer can keep results where its messages are, if it is to."""
        return peer.stores or not self.results

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        return drain(peer, place, Job(task="noop", count=count, results=self.results))


WORKLOADS = (
    Noop("noop", "noop drain, -c 1000, results ignored"),
    Noop("noop-results", "noop drain, -c 1000, results stored", results=True),
)
