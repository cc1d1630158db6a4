"""Calls with large arguments."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.workloads import DRAINED, Column, Figures, Workload

__all__ = ["WORKLOADS"]

KIB = 1024
TOGETHER = 128 * KIB * KIB
"""Bytes of all the arguments of one measurement, at most: servers keep them in memory."""


@dataclass(frozen=True, kw_only=True)
class Body(Workload):
    """From the first task's run to the last's.

    Parameters:
        size: of the argument (characters).
    """

    size: int

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        found = drain(peer, place, Job(task="carry", count=count, size=self.size))
        return found | {"mib": found["rate"] * self.size / KIB / KIB}


def _body(name: str, size: int) -> Body:
    return Body(
        f"body-{name.replace(' ', '')}",
        f"calls with an argument of {name}, -c 1000, results ignored",
        columns=(DRAINED[0], Column("MiB/s", "mib", 1), *DRAINED[1:]),
        most=TOGETHER // size,
        chiefs=True,
        size=size,
    )


WORKLOADS = (_body("1 KiB", KIB), _body("100 KiB", 100 * KIB), _body("10 MiB", 10 * KIB * KIB))
