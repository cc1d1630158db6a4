"""One call at a time on an idle worker: from sending it to having its result."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.serving import ask
from benchmarks.workloads import Column, Figures, Workload

MOST = 2000
"""Calls: enough for a 99th percentile."""


class RoundTrip(Workload):
    """What a user waits for who calls a task that does nothing."""

    name: ClassVar[str] = "round-trip"
    title: ClassVar[str] = "round trip on an idle worker, -c 1000, ms"
    compared: ClassVar[str] = "p50"
    higher: ClassVar[bool] = False
    columns: ClassVar[tuple[Column, ...]] = (Column("p50", "p50", 2), Column("p99", "p99", 2))

    def suits(self, peer: Peer) -> bool:
        """Whether the peer's module says how to ask."""
        return peer.stores and peer.asks

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        found = sorted(ask(peer, place, "round_trips", min(count, MOST), concurrency=1000))
        return {f"p{p}": found[int(len(found) * p / 100)] * 1000 for p in (50, 90, 99)}
