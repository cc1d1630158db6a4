"""Tasks that wait 100 ms: how full a worker keeps its thousand slots."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.workloads import Figures, Workload


class Sleep100ms(Workload):
    """From the first task's begin to the last's end."""

    name: ClassVar[str] = "sleep-100ms"
    title: ClassVar[str] = "100 ms sleeps, -c 1000, results ignored"
    ideal: ClassVar[float | None] = 10_000.0

    def suits(self, peer: Peer) -> bool:
        """Whether it has slots to keep full: where one task waits at a time there is nothing to learn."""
        return peer.many

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        return drain(peer, place, "sleep", count, concurrency=1000, seconds=0.1)
