"""Tasks that ask a web server: what most tasks that wait do."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.drain import drain
from benchmarks.httpserver import DELAY, answering
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.workloads import Figures, Workload

__all__ = ["WORKLOADS"]


@dataclass(frozen=True)
class Http(Workload):
    """From the first request to the last answer."""

    def suits(self, peer: Peer) -> bool:
        """Whether it runs more than a few tasks at once: each would wait for the server alone."""
        return peer.many

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        with answering() as port:
            return drain(peer, place, Job(task="fetch", count=count, port=port))


WORKLOADS = (
    Http(
        "http",
        f"HTTP requests to a local server that answers after {DELAY * 1000:g} ms, -c 1000",
        most=20_000,
    ),
)
