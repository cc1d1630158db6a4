"""Chords: many tasks, and one when all of them have ended."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.serving import ask
from benchmarks.workloads import Column, Figures, Workload

__all__ = ["WORKLOADS"]

SIZES = (1, 10, 100, 1000, 10_000)


@dataclass(frozen=True, kw_only=True)
class Chord(Workload):
    """From sending it to having the result of its body; the header's tasks do nothing.

    Parameters:
        size: tasks in its header.
    """

    size: int

    def suits(self, peer: Peer) -> bool:
        """Whether it has chords here."""
        return peer.chords

    def tasks(self, peer: Peer, count: int) -> int:
        """How many tasks the header has: never more than others are given altogether."""
        return min(self.size, count)

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        taken = median(ask(peer, place, "chords", Job(task="noop", count=count, results=True)))
        return {"ms": taken * 1000, "rate": count / taken, "tasks": count}


WORKLOADS = tuple(
    Chord(
        f"chord-{size}", f"a chord of {size:,}, ms",
        compared="ms", higher=False, size=size,
        columns=(Column("ms", "ms", 1), Column("tasks per second", "rate")),
    )
    for size in SIZES
)  # fmt: skip
