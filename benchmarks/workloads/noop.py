"""Tasks that do nothing: what a message costs."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.workloads import Figures, Workload


class Noop(Workload):
    """From the first task's run to the last's."""

    name: ClassVar[str] = "noop"
    title: ClassVar[str] = "noop drain, -c 1000, results ignored"

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        return drain(peer, place, "noop", count, concurrency=1000)
