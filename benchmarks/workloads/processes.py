"""Several worker processes: what each adds."""

from __future__ import annotations

import os
from dataclasses import dataclass

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.workloads import Figures, Workload

__all__ = ["WORKLOADS"]

EACH = 10_000.0
"""Tasks a second that one process can do ideally."""


@dataclass(frozen=True, kw_only=True)
class Processes(Workload):
    """From the first task's begin to the last's end: tasks that sleep 100 ms, so that no core is full.

    Parameters:
        processes: how many.
    """

    processes: int

    def suits(self, peer: Peer) -> bool:
        """Whether the peer can be asked for several."""
        return peer.scales and peer.many

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        job = Job(task="sleep", count=count, seconds=0.1, processes=self.processes)
        return drain(peer, place, job)


def _processes(number: int) -> Processes:
    return Processes(
        f"processes-{number}",
        f"100 ms sleeps, {number} process{'es' * (number > 1)} of -c 1000",
        ideal=EACH * number,
        most=int(EACH * number * 6),
        processes=number,
    )


def _numbers() -> list[int]:
    """One, two, four, … up to the cores of the machine; two in any case."""
    cores = max(2, os.cpu_count() or 1)
    return [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]


WORKLOADS = tuple(map(_processes, _numbers()))
