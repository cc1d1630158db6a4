"""What is measured: one small file here for each workload."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.peers import Peer
from benchmarks.place import Place

__all__ = ["Column", "Figures", "Workload", "workloads"]

Figures = dict[str, float]
"""What one measurement gives."""


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


class Workload(ABC):
    """One way to use a task queue.

    Attributes:
        name: for the command line.
        title: for the table.
        compared: the figure that peers are compared by.
        higher: whether more of it is better.
        columns: what the table shows; the first one's spread too.
        ideal: what nothing can pass, if there is such a thing.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    compared: ClassVar[str] = "rate"
    higher: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("per second", "rate"),
        Column("CPU µs/task", "cpu"),
        Column("RSS MiB", "rss"),
    )
    ideal: ClassVar[float | None] = None

    def suits(self, peer: Peer) -> bool:
        """Whether it makes sense for this peer."""
        return True

    @abstractmethod
    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once.

        Parameters:
            place: a fresh directory with what the peer needs.
            count: how many tasks.
        """


def workloads() -> list[Workload]:
    """One of each, by name."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        imported = importlib.import_module(f"{__name__}.{module.name}")
        members = [member for member in vars(imported).values() if isinstance(member, type)]
        found += [
            member()
            for member in members
            if issubclass(member, Workload) and member.__module__ == imported.__name__
        ]
    return sorted(found, key=lambda workload: workload.name)
