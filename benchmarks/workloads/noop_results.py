"""Tasks that do nothing and whose results are stored."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.workloads import Figures, Workload


class NoopResults(Workload):
    """From the first task's run to the last's; each result is stored, and told to whoever waits."""

    name: ClassVar[str] = "noop-results"
    title: ClassVar[str] = "noop drain, -c 1000, results stored"

    def suits(self, peer: Peer) -> bool:
        """Whether the peer can keep results where its messages are."""
        return peer.stores

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        return drain(peer, place, "noop", count, concurrency=1000, results=True)
