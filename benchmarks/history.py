"""How the ratios went from run to run: a line for each run that was kept, in a file beside the sources.

Machines differ, and one machine from day to day, so a figure is kept together with what the yardsticks and
the other systems did in the same run. What is compared over time is greenq's ratio to the baseline; where
that system does not take part, to the best of those that do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.found import Found, kind
from benchmarks.place import Failed

__all__ = ["FILE", "add", "entry", "read", "table"]

FILE = Path(__file__).parent / "history.jsonl"
FELL = 0.9
"""A ratio below this part of the one before is marked."""
SHOWN = 6
"""Runs, at most."""


def entry(run: dict[str, Any]) -> dict[str, Any]:
    """Give what is kept of a run: the median of what each workload compares, for each system."""
    found = Found(run)
    medians = {}
    for workload in run["workloads"]:
        figures = {
            system: found.median(workload["name"], system, workload["compared"])
            for system in workload["rounds"]
        }
        medians[workload["name"]] = {
            "higher": workload["higher"],
            "systems": {
                system: float(f"{value:.4g}") for system, value in figures.items() if value is not None
            },
        }
    kept = {key: run[key] for key in ("began", "commit", "machine", "busy", "baseline", "count", "rounds")}
    return {**kept, "medians": {name: taken for name, taken in medians.items() if taken["systems"]}}


def add(run: dict[str, Any], file: Path = FILE) -> Path:
    """Write a run down.

    Returns:
        The file.
    """
    with file.open("a") as lines:
        lines.write(json.dumps(entry(run), sort_keys=True) + "\n")
    return file


def read(file: Path = FILE) -> list[dict[str, Any]]:
    """Give what was kept, oldest first.

    Raises:
        Failed: a line can't be read.
    """
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise Failed(f"{file}, line {number}, is not JSON: {error}") from error
    return found


def table(entries: list[dict[str, Any]], names: tuple[str, ...] = ()) -> str:
    """Write the ratios of greenq's systems, a column for each run, as Markdown.

    Parameters:
        names: only workloads whose name holds one of these; all if there are none.
    """
    shown = entries[-SHOWN:]
    if not shown:
        return "No run was kept yet: `python -m benchmarks --keep` keeps one."
    rows: dict[tuple[str, str], list[float | None]] = {}
    for column, one in enumerate(shown):
        for workload, taken in one["medians"].items():
            if names and not any(name in workload for name in names):
                continue
            for system, times in _ratios(taken, one["baseline"]).items():
                rows.setdefault((workload, system), [None] * len(shown))[column] = times
    heads = [
        f"{one['began'][:16]} {one['commit']}{'' if one['busy']['calm'] else ' (loaded)'}" for one in shown
    ]
    lines = [f"| workload | system | {' | '.join(heads)} | last to the one before |"]
    lines.append(f"| --- | --- |{' ---: |' * (len(shown) + 1)}")
    for (workload, system), values in sorted(rows.items()):
        cells = ["" if value is None else f"{value:.3g}" for value in values]
        lines.append(f"| {workload} | {system} | {' | '.join(cells)} | {_step(values)} |")
    return "\n".join(lines)


def _ratios(taken: dict[str, Any], baseline: str) -> dict[str, float]:
    """How many times better than the baseline each of greenq's systems was."""
    systems: dict[str, float] = taken["systems"]
    peers = [value for system, value in systems.items() if kind(system) == "peer"]
    if not peers:
        return {}
    base = systems.get(baseline, max(peers) if taken["higher"] else min(peers))
    found = {}
    for system, value in systems.items():
        if kind(system) == "greenq" and value and base:
            found[system] = value / base if taken["higher"] else base / value
    return found


def _step(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2 or values[-1] is None:
        return ""
    step = known[-1] / known[-2]
    return f"{step:.2f}{' **fell**' if step < FELL else ''}"
