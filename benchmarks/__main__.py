"""``python -m benchmarks``: measure greenq beside its peers, count calls, and judge what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import click

from benchmarks import calls as counting
from benchmarks import charts as drawing
from benchmarks import goals, records, report
from benchmarks import history as past
from benchmarks.peers import peers
from benchmarks.place import Failed
from benchmarks.run import run
from benchmarks.workloads import workloads

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Named(Protocol):
    """A peer or a workload."""

    @property
    def name(self) -> str:
        """What the command line calls it."""


N = TypeVar("N", bound=Named)


class Commands(click.Group):
    """What can't be done is told in a sentence."""

    def invoke(self, context: click.Context) -> Any:
        """Carry out a command."""
        try:
            return super().invoke(context)
        except Failed as failed:
            raise click.ClickException(str(failed)) from None


def _choose(available: Sequence[N], names: tuple[str, ...], option: str) -> list[N]:
    """Those whose name holds one of the given texts; all if none is given."""
    known = "; ".join(one.name for one in available)
    for name in names:
        if not any(name.lower() in one.name.lower() for one in available):
            raise click.BadParameter(f"{name!r} is none of: {known}", param_hint=option)
    return [one for one in available if not names or any(name.lower() in one.name.lower() for name in names)]


@click.group(cls=Commands, invoke_without_command=True)
@click.option("--peer", "-p", multiple=True, help="Only peers whose name holds this; repeatable.")
@click.option("--workload", "-w", multiple=True, help="Only workloads whose name holds this; repeatable.")
@click.option(
    "--tasks", "-n", default=20_000, show_default=True, type=click.IntRange(2),
    help="Of each measurement; quick systems get more, slow ones fewer.",
)  # fmt: skip
@click.option("--rounds", "-r", default=3, show_default=True, type=click.IntRange(1))
@click.option("--minutes", "-m", type=click.FloatRange(min=0), help="Begin nothing more after so long.")
@click.option(
    "--keep", is_flag=True, help="Add the medians to the history; for whole runs on a calm machine."
)
@click.pass_context
def main(
    context: click.Context,
    peer: tuple[str, ...],
    workload: tuple[str, ...],
    tasks: int,
    rounds: int,
    minutes: float | None,
    keep: bool,
) -> None:
    """Measure greenq and its peers in turns; prints tables, writes JSON to benchmarks/results."""
    if context.invoked_subcommand is not None:
        return
    chosen = _choose(peers(), peer, "--peer"), _choose(workloads(), workload, "--workload")
    path = records.new("run")
    found = run(
        *chosen, tasks, rounds, lambda line: click.echo(line, err=True),
        minutes=minutes, keep=lambda found: records.write(path, found),
    )  # fmt: skip
    click.echo(report.table(found))
    click.echo(f"\n{report.circumstances(found)}")
    click.echo(f"written to {path}")
    if keep:
        click.echo(f"kept in {past.add(found)}")
    if found["failed"]:
        _fail(f"{len(found['failed'])} measurements failed")


def _fail(why: str) -> NoReturn:
    raise click.ClickException(why)


@main.command("list")
def list_all() -> None:
    """Name the peers, the workloads, and which is put through which."""
    for one in workloads():
        click.echo(f"{one.name}: {one.title}")
        click.echo("    " + "; ".join(peer.name for peer in peers() if one.takes(peer)))


@main.command()
@click.option("--messages", "-n", default=2_000, show_default=True, type=click.IntRange(500))
@click.option("--most", default=0, help="List so many of the functions that are called most.")
def calls(messages: int, most: int) -> None:
    """Count the Python calls that a greenq worker makes for one message."""
    found = counting.count_all(messages)
    click.echo(counting.table(found, most))
    path = records.new("calls")
    records.write(path, found)
    click.echo(f"\nwritten to {path}")


@main.command()
@click.argument("file", type=FILE, required=False)
def show(file: Path | None) -> None:
    """Print the tables of the last run, or of a file of results."""
    found = records.read(file or records.latest("run"))
    click.echo(f"{report.table(found)}\n\n{report.circumstances(found)}")


@main.command()
@click.argument("file", type=FILE, required=False)
def check(file: Path | None) -> None:
    """Hold the last run, or a file of results, against what must be true; fails if anything is missed."""
    found = records.read(file or records.latest("run"))
    judged = goals.judge(found, goals.counted())
    click.echo(f"{goals.table(judged)}\n\n{report.circumstances(found)}")
    if any(one.met is False for one in judged):
        _fail(f"{sum(one.met is False for one in judged)} missed")


@main.command()
@click.argument("file", type=FILE, required=False)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="The directory of the pictures.")
def charts(file: Path | None, to: Path | None) -> None:
    """Draw the last run, or a file of results: one SVG for each workload."""
    path = file or records.latest("run")
    for drawn in drawing.draw(records.read(path), to or path.with_suffix("")):
        click.echo(drawn)


@main.command()
@click.option("--workload", "-w", multiple=True, help="Only workloads whose name holds this; repeatable.")
def history(workload: tuple[str, ...]) -> None:
    """Show how greenq's ratios to the baseline went from run to run."""
    click.echo(past.table(past.read(), workload))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
