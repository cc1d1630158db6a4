"""Tasks that wait: how full a worker keeps its slots."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.workloads import Figures, Workload

__all__ = ["WORKLOADS", "Sleep"]

LONGEST = 6.0
"""Seconds that one measurement would take ideally, at most."""


@dataclass(frozen=True, kw_only=True)
class Sleep(Workload):
    """From the first task's begin to the last's end.

    Parameters:
        seconds: how long each sleeps.
        concurrency: how many at once.
    """

    seconds: float
    concurrency: int

    def suits(self, peer: Peer) -> bool:
        """Whether it has slots to keep full: where one task waits at a time there is nothing to learn."""
        return peer.many

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        job = Job(task="sleep", count=count, concurrency=self.concurrency, seconds=self.seconds)
        return drain(peer, place, job)


def _sleeps(milliseconds: int, concurrency: int) -> Sleep:
    ideal = concurrency / milliseconds * 1000
    length = f"{milliseconds // 1000} s" if milliseconds >= 1000 else f"{milliseconds} ms"
    return Sleep(
        f"sleep-{length.replace(' ', '')}-c{concurrency}",
        f"{length} sleeps, -c {concurrency}, results ignored",
        ideal=ideal,
        # Whole waves, so that the last of them does not leave slots empty in the ideal either.
        most=max(int(ideal * LONGEST), 3 * concurrency),
        chiefs=not (milliseconds == 100 and concurrency >= 1000),
        seconds=milliseconds / 1000,
        concurrency=concurrency,
    )


WORKLOADS = tuple(
    _sleeps(milliseconds, concurrency)
    for milliseconds in (10, 100, 1000)
    for concurrency in (100, 1000, 10_000)
)
