"""`greenq queues`: look into queues and empty them."""

from __future__ import annotations

import dataclasses
from difflib import get_close_matches

import click

from greenq.cli import options, screen
from greenq.message import Depth

__all__ = ["queues"]


@click.group(no_args_is_help=False)
def queues() -> None:
    """Look into queues and empty them."""


@queues.command("list")
@options.json_option()
@options.app_option("Use this application's configuration.")
@options.config_option()
def list_queues(as_json: bool, app: str | None, config: str | None) -> None:
    """List the queues and how many messages they hold.

    \b
    ready    may start now
    delayed  wait for their time (ETA, countdown, retry)
    leased   a worker has them: they run, or start soon
    dead     given up (greenq dead)
    """
    from greenq.cli import loading

    with loading.client(app, config) as owner:
        depths = dict(sorted(owner.broker.survey().items()))
        urgent_is_high = owner.broker.guarantees.urgent > 0
    if as_json:
        screen.show_json({name: dataclasses.asdict(depth) for name, depth in depths.items()})
        return
    if not depths:
        click.echo(
            f"{loading.address(owner)} has no queues yet: the first worker or message makes them", err=True
        )
        return
    header = ["queue", "ready", "delayed", "leased", "dead"]
    by_priority = any(set(depth.by_priority) - {0} for depth in depths.values())
    if by_priority:
        header.append("ready by priority")
    rows = []
    for name, depth in depths.items():
        numbers = [depth.ready, depth.delayed, depth.leased, depth.dead]
        cells = [str(number) if number else click.style("0", dim=True) for number in numbers]
        if depth.dead:
            cells[3] = click.style(cells[3], fg="red", bold=True)
        if by_priority:
            cells.append(_by_priority(depth, urgent_is_high))
        rows.append([name, *cells])
    screen.show_table(header, rows, right=(1, 2, 3, 4))


def _by_priority(depth: Depth, urgent_is_high: bool) -> str:
    """``9: 2, 0: 15``, what runs first first."""
    return ", ".join(
        f"{priority}: {ready}"
        for priority, ready in sorted(depth.by_priority.items(), reverse=urgent_is_high)
    )


@queues.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=options.complete_queue)
@options.yes_option()
@options.app_option("Use this application's configuration.")
@options.config_option()
@click.pass_context
def purge(ctx: click.Context, names: tuple[str, ...], yes: bool, app: str | None, config: str | None) -> None:
    """Drop what waits in the queues, now or later. What runs and what is dead stays.

    Asks first; where nobody can be asked, --yes is needed.
    """
    from greenq.cli import loading

    chosen = options.comma_list(names)
    with loading.client(app, config) as owner:
        depths = owner.broker.depth()
        for name in chosen:
            if name not in depths:
                near = get_close_matches(name, depths, 1)
                known = (
                    f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(depths)) or 'none'}"
                )
                raise click.UsageError(
                    f"there is no queue {name!r} in {loading.address(owner)}: {known}", ctx
                )
        waiting = sum(depths[name].ready + depths[name].delayed for name in chosen)
        if not waiting:
            click.echo(f"nothing waits in {screen.words(chosen)}", err=True)
            return
        if not screen.ask(f"Drop {screen.count(waiting, 'message')} from {screen.words(chosen)}", yes):
            click.echo("nothing was dropped", err=True)
            return
        dropped = sum(owner.broker.purge(name) for name in screen.progress(chosen, "purging"))
    click.echo(f"dropped {screen.count(dropped, 'message')} from {screen.words(chosen)}")
