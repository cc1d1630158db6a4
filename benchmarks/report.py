"""From figures to a table that people read: medians, spread, ratios."""

from __future__ import annotations

from statistics import median
from typing import Any

__all__ = ["table"]

Rounds = list[dict[str, float]]


def table(run: dict[str, Any]) -> str:
    """Write what one run found, as Markdown.

    Parameters:
        run: as `benchmarks.run.run` gives it; the ratio is to its ``baseline``, round by round.
    """
    lines = []
    for workload in run["workloads"]:
        rounds: dict[str, Rounds] = workload["rounds"]
        base = rounds.get(run["baseline"])
        lines += [f"{workload['title']}, {run['count']:,} tasks, {run['rounds']} rounds:", ""]
        lines.append(
            "| system | per second | lowest to highest | CPU µs/task | RSS MiB | times the baseline |"
        )
        lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
        lines += [_row(name, figures, base) for name, figures in rounds.items()]
        if workload["ideal"]:
            lines.append(f"| (the ideal) | {workload['ideal']:,.0f} | | | | |")
        lines.append("")
    return "\n".join(lines)


def _row(name: str, figures: Rounds, base: Rounds | None) -> str:
    rates = [figure["rate"] for figure in figures]
    cells = [
        name,
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{median(figure['cpu'] for figure in figures):,.0f}",
        f"{median(figure['rss'] for figure in figures):,.0f}",
        _ratio(rates, [figure["rate"] for figure in base] if base else []),
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(rates: list[float], base: list[float]) -> str:
    ratios = [rate / other for rate, other in zip(rates, base, strict=False)]
    if not ratios or rates == base:
        return "1" if ratios else ""
    return f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
