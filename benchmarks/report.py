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
        columns = workload["columns"]
        heads = ["system", columns[0]["title"], "lowest to highest", *(c["title"] for c in columns[1:])]
        lines += [f"{workload['title']}, {run['count']:,} tasks, {run['rounds']} rounds:", ""]
        lines.append(f"| {' | '.join([*heads, 'times the baseline'])} |")
        lines.append(f"| --- |{' ---: |' * len(heads)}")
        lines += [_row(name, figures, base, workload) for name, figures in rounds.items()]
        if workload["ideal"]:
            lines.append(f"| (the ideal) | {workload['ideal']:,.0f} |{' |' * (len(heads) - 1)}")
        lines.append("")
    return "\n".join(lines)


def _row(name: str, figures: Rounds, base: Rounds | None, workload: dict[str, Any]) -> str:
    first, *others = workload["columns"]
    spread = [figure[first["figure"]] for figure in figures]
    cells = [
        name,
        f"{median(spread):,.{first['digits']}f}",
        f"{min(spread):,.{first['digits']}f} to {max(spread):,.{first['digits']}f}",
        *(f"{median(f[column['figure']] for f in figures):,.{column['digits']}f}" for column in others),
        _ratio(figures, base or [], workload["compared"], workload["higher"]),
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(figures: Rounds, base: Rounds, compared: str, higher: bool) -> str:
    """How many times better than the baseline."""
    pairs = [(one[compared], other[compared]) for one, other in zip(figures, base, strict=False)]
    ratios = [one / other if higher else other / one for one, other in pairs]
    if not ratios or figures is base:
        return "1" if ratios else ""
    return f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
