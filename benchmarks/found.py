"""What a run has found, asked for by name: medians, spread, ratios round by round."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["Found", "Ratio", "kind", "ratio"]

Rounds = list[dict[str, float]]


@dataclass(frozen=True)
class Ratio:
    """How many times one is the other.

    Parameters:
        middle, lowest, highest: of the rounds.
    """

    middle: float
    lowest: float
    highest: float


def kind(system: str) -> str:
    """Tell a system's kind by its name: ``yardstick``, ``greenq`` or ``peer``."""
    if system.startswith("("):
        return "yardstick"
    return "greenq" if system.startswith("greenq") else "peer"


class Found:
    """One run.

    Parameters:
        run: as `benchmarks.run.run` gives it.
    """

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run
        self._workloads = {workload["name"]: workload for workload in run["workloads"]}

    def rounds(self, workload: str, system: str) -> Rounds:
        """Give the figures of each round; none if it was not measured."""
        rounds: dict[str, Rounds] = self._workloads.get(workload, {}).get("rounds", {})
        return rounds.get(system, [])

    def systems(self, workload: str, of: str) -> list[str]:
        """Name those of a kind that were measured."""
        rounds: dict[str, Rounds] = self._workloads.get(workload, {}).get("rounds", {})
        return [system for system, figures in rounds.items() if figures and kind(system) == of]

    def median(self, workload: str, system: str, figure: str = "rate") -> float | None:
        """Give the median of the rounds; None if it was not measured."""
        values = [figures[figure] for figures in self.rounds(workload, system) if figure in figures]
        return median(values) if values else None

    def best(self, workload: str, of: str, figure: str = "rate", *, higher: bool = True) -> str | None:
        """Name the system of a kind with the best median."""
        medians = {system: self.median(workload, system, figure) for system in self.systems(workload, of)}
        known = {system: value for system, value in medians.items() if value is not None}
        if not known:
            return None
        return max(known, key=known.__getitem__) if higher else min(known, key=known.__getitem__)

    def ratio(
        self, one: tuple[str, str], other: tuple[str, str], figure: str = "rate", *, higher: bool = True
    ) -> Ratio | None:
        """Tell how many times better one is, each a workload and a system; None if either was not measured.

        Rounds are compared with each other, so that a machine that slows down slows both.

        Parameters:
            higher: whether more of the figure is better.
        """
        return ratio(self.rounds(*one), self.rounds(*other), figure, higher=higher)


def ratio(one: Rounds, other: Rounds, figure: str, *, higher: bool = True) -> Ratio | None:
    """See `Found.ratio`."""
    others = {figures["round"]: figures[figure] for figures in other if figure in figures}
    ratios = []
    for figures in one:
        if figure in figures and figures["round"] in others:
            mine, theirs = figures[figure], others[figures["round"]]
            above, below = (mine, theirs) if higher else (theirs, mine)
            if below:
                ratios.append(above / below)
    return Ratio(median(ratios), min(ratios), max(ratios)) if ratios else None
