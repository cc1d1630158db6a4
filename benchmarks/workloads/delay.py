"""A broker that is some way off: the same drain through a proxy, with and without delay."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.proxy import delaying, limits
from benchmarks.workloads import Figures, Workload

__all__ = ["WORKLOADS"]


@dataclass(frozen=True, kw_only=True)
class Delay(Workload):
    """From the first task's run to the last's.

    Parameters:
        seconds: how much later bytes arrive, in each direction.
    """

    seconds: float

    def limits(self) -> dict[str, float]:
        """Measure the proxy itself, without delay."""
        found = limits()
        return {"proxy, turns a second": found["turns"], "proxy, MiB a second": found["mib"]}

    def suits(self, peer: Peer) -> bool:
        """Whether its broker is a server."""
        return peer.redis or peer.rabbit

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        with ExitStack() as stack:
            through = place
            if place.redis:
                through = replace(through, redis=stack.enter_context(delaying(place.redis, self.seconds)))
            if place.rabbit:
                through = replace(through, rabbit=stack.enter_context(delaying(place.rabbit, self.seconds)))
            return drain(peer, place, Job(task="noop", count=count), through)


WORKLOADS = tuple(
    Delay(
        f"delay-{seconds * 1000:g}ms",
        f"noop drain, -c 1000, the broker {seconds * 1000:g} ms away in each direction",
        chiefs=True,
        seconds=seconds,
    )
    for seconds in (0.0, 0.002)
)
