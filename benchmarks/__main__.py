"""``python -m benchmarks``: measure greenq beside its peers; ``python -m benchmarks calls``: count calls."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks import calls as counting
from benchmarks import report
from benchmarks.peers import peers
from benchmarks.place import Failed
from benchmarks.run import run
from benchmarks.workloads import workloads

RESULTS = Path(__file__).parent / "results"


def _choose(available: list[Any], names: tuple[str, ...], option: str) -> list[Any]:
    """Those whose name holds one of the given texts; all if none is given."""
    known = ", ".join(one.name for one in available)
    for name in names:
        if not any(name.lower() in one.name.lower() for one in available):
            raise click.BadParameter(f"{name!r} is none of: {known}", param_hint=option)
    return [one for one in available if not names or any(name.lower() in one.name.lower() for name in names)]


def _save(name: str, data: Any) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(data, indent=1) + "\n")
    return path


@click.group(invoke_without_command=True)
@click.option("--peer", "-p", multiple=True, help="Only peers whose name holds this; repeatable.")
@click.option("--workload", "-w", multiple=True, help="Only workloads whose name holds this; repeatable.")
@click.option("--tasks", "-n", default=20_000, show_default=True, type=click.IntRange(2))
@click.option("--rounds", "-r", default=5, show_default=True, type=click.IntRange(1))
@click.pass_context
def main(
    context: click.Context, peer: tuple[str, ...], workload: tuple[str, ...], tasks: int, rounds: int
) -> None:
    """Measure greenq and its peers in turns; prints a table, writes JSON to benchmarks/results."""
    if context.invoked_subcommand is not None:
        return
    chosen = _choose(peers(), peer, "--peer"), _choose(workloads(), workload, "--workload")
    try:
        found = run(*chosen, tasks, rounds, lambda line: click.echo(line, err=True))
    except Failed as failed:
        raise click.ClickException(str(failed)) from None
    click.echo(report.table(found))
    busy = found["busy"]
    if not busy["calm"]:
        click.echo(f"The machine was loaded: up to {busy['highest']:.1f} cores were at work beside ours.\n")
    click.echo(f"written to {_save('run', found)}")


@main.command()
@click.option("--messages", "-n", default=2_000, show_default=True, type=click.IntRange(500))
@click.option("--most", default=0, help="List so many of the functions that are called most.")
def calls(messages: int, most: int) -> None:
    """Count the Python calls that a greenq worker makes for one message."""
    try:
        found = counting.count_all(messages)
    except Failed as failed:
        raise click.ClickException(str(failed)) from None
    click.echo(counting.table(found, most))
    click.echo(f"\nwritten to {_save('calls', found)}")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
