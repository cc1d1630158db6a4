"""From figures to a table that people read: medians, spread, ratios."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.found import Rounds, ratio

__all__ = ["circumstances", "table"]


def table(run: dict[str, Any]) -> str:
    """Write what one run found, as Markdown.

    Parameters:
        run: as `benchmarks.run.run` gives it; the ratio is to its ``baseline``, round by round.
    """
    lines = []
    for workload in run["workloads"]:
        rounds: dict[str, Rounds] = {name: taken for name, taken in workload["rounds"].items() if taken}
        if not rounds:
            continue
        base = rounds.get(run["baseline"], [])
        columns = workload["columns"]
        heads = ["system", columns[0]["title"], "lowest to highest", *(c["title"] for c in columns[1:])]
        heads += ["rounds", "times the baseline"]
        lines += [f"{workload['title']}:", ""]
        lines.append(f"| {' | '.join(heads)} |")
        lines.append(f"| --- |{' ---: |' * (len(heads) - 1)}")
        lines += [_row(name, figures, base, workload) for name, figures in rounds.items()]
        if workload["ideal"]:
            lines.append(f"| (the ideal) | {workload['ideal']:,.0f} |{' |' * (len(heads) - 2)}")
        lines.append("")
    lines += [f"Limit of the {name}: {value:,.0f}" for name, value in run["limits"].items()]
    lines += [f"Failed: {failed['what']}: {failed['why'].splitlines()[0]}" for failed in run["failed"]]
    return "\n".join(lines)


def circumstances(run: dict[str, Any]) -> str:
    """Say in a sentence when and on what a run was made, and whether the machine had other work."""
    busy = run["busy"]
    state = "calm" if busy["calm"] else f"loaded: {busy['mean']:.1f} cores were at work beside ours"
    return (
        f"{run['began'][:16]}, sources {run['commit'] or 'unknown'}, {run['count']:,} tasks as a rule, "
        f"at most {run['rounds']} rounds; the machine was {state}."
    )


def _row(name: str, figures: Rounds, base: Rounds, workload: dict[str, Any]) -> str:
    first, *others = workload["columns"]
    spread = [figure[first["figure"]] for figure in figures]
    cells = [
        name,
        f"{median(spread):,.{first['digits']}f}",
        f"{min(spread):,.{first['digits']}f} to {max(spread):,.{first['digits']}f}",
        *(_middle(figures, column) for column in others),
        str(len(figures)),
        _times(figures, base, workload),
    ]
    return f"| {' | '.join(cells)} |"


def _middle(figures: Rounds, column: dict[str, Any]) -> str:
    known = [figure[column["figure"]] for figure in figures if column["figure"] in figure]
    return f"{median(known):,.{column['digits']}f}" if known else ""


def _times(figures: Rounds, base: Rounds, workload: dict[str, Any]) -> str:
    """How many times better than the baseline."""
    if figures is base:
        return "1"
    times = ratio(figures, base, workload["compared"], higher=workload["higher"])
    return f"{times.middle:.3g} ({times.lowest:.3g} to {times.highest:.3g})" if times else ""
