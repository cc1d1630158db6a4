"""What is measured: one small file here for each kind, with its `WORKLOADS`."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass

from benchmarks.peers import Peer
from benchmarks.place import Place

__all__ = ["DRAINED", "LEAST", "Column", "Figures", "Workload", "workloads"]

Figures = dict[str, float]
"""What one measurement gives."""
LEAST = 50
"""Tasks of one measurement, at least."""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Parameters:
        title: its head.
        figure: which of the figures; the median of the rounds is shown.
        digits: after the point.
    """

    title: str
    figure: str
    digits: int = 0


DRAINED = Column("per second", "rate"), Column("CPU µs/task", "cpu"), Column("RSS MiB", "rss")
"""What `benchmarks.drain.drain` finds."""


@dataclass(frozen=True)
class Workload(ABC):
    """One way to use a task queue.

    Parameters:
        name: for the command line.
        title: for the table.
        compared: the figure that peers are compared by.
        higher: whether more of it is better.
        columns: what the table shows; the first one's spread too.
        ideal: what nothing can pass, if there is such a thing.
        most: tasks of one measurement, at most.
        times: tasks of one measurement, as a multiple of those of others.
        chiefs: whether only `Peer.chief` and yardsticks are measured.
    """

    name: str
    title: str
    compared: str = "rate"
    higher: bool = True
    columns: tuple[Column, ...] = DRAINED
    ideal: float | None = None
    most: int | None = None
    times: float = 1.0
    chiefs: bool = False

    def takes(self, peer: Peer) -> bool:
        """Whether this peer is measured."""
        if peer.only:
            return self.name in peer.only and self.suits(peer)
        return (peer.chief or not self.chiefs) and self.suits(peer)

    def suits(self, peer: Peer) -> bool:
        """Whether it makes sense for this peer."""
        return True

    def tasks(self, peer: Peer, count: int) -> int:
        """How many tasks this peer is given where `count` is usual."""
        asked = max(LEAST, int(count * self.times * peer.portion))
        return min(asked, self.most) if self.most else asked

    def limits(self) -> dict[str, float]:
        """Measure what the workload's own tools let through, by what it is."""
        return {}

    @abstractmethod
    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once.

        Parameters:
            place: a fresh directory with what the peer needs.
            count: how many tasks.
        """


def workloads() -> list[Workload]:
    """Give all, as one reads them: by file, and in the order of each file."""
    found: list[Workload] = []
    for module in pkgutil.iter_modules(__path__):
        found += importlib.import_module(f"{__name__}.{module.name}").WORKLOADS
    return found
