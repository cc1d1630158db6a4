"""Sending calls one by one, confirmed if that is how the system ships, while no worker runs."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.serving import ask
from benchmarks.workloads import Column, Figures, Workload


class Enqueue(Workload):
    """What a producer waits for."""

    name: ClassVar[str] = "enqueue"
    title: ClassVar[str] = "sending one by one"
    columns: ClassVar[tuple[Column, ...]] = (Column("per second", "rate"), Column("CPU µs/call", "cpu"))

    def suits(self, peer: Peer) -> bool:
        """Whether the peer's module says how to send."""
        return peer.asks

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        found: Figures = ask(peer, place, "sends", count, concurrency=1000, worker=False)
        return found
