"""`greenq queues`: look into queues, pause and empty them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from greenq.cli import options, screen
from greenq.errors import BrokerError
from greenq.message import Depth

if TYPE_CHECKING:
    from greenq.app import GreenQ

__all__ = ["queues"]


@click.group(no_args_is_help=False)
def queues() -> None:
    """Look into queues, pause and empty them."""


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
    paused   no worker takes from it (greenq queues pause)
    """
    from greenq.cli import loading

    with loading.client(app, config) as owner:
        paused = _paused(owner)
        known = owner.broker.survey()
        depths = dict(sorted({**dict.fromkeys(paused, Depth()), **known}.items()))
        urgent_is_high = owner.broker.guarantees.urgent > 0
    if as_json:
        screen.show_json(
            {name: {**dataclasses.asdict(depth), "paused": name in paused} for name, depth in depths.items()}
        )
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
    if paused:
        header.append("state")
    rows = []
    for name, depth in depths.items():
        numbers = [depth.ready, depth.delayed, depth.leased, depth.dead]
        cells = [str(number) if number else click.style("0", dim=True) for number in numbers]
        if depth.dead:
            cells[3] = click.style(cells[3], fg="red", bold=True)
        if by_priority:
            cells.append(_by_priority(depth, urgent_is_high))
        if paused:
            cells.append(click.style("paused", fg="yellow") if name in paused else "")
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
@options.app_option("Use this application's configuration.")
@options.config_option()
def pause(names: tuple[str, ...], app: str | None, config: str | None) -> None:
    """Let no worker take from the queues until they are resumed.

    Workers notice within some two seconds; what runs goes on, and what is sent waits.
    """
    from greenq.cli import loading

    chosen = options.comma_list(names)
    with loading.client(app, config) as owner:
        loading.refuse_private(owner)
        already = owner.queues.paused()
        owner.queues.pause(*chosen)
        known = owner.broker.depth() if owner.broker.guarantees.lists_queues else dict.fromkeys(chosen)
    _tell(chosen, already, "is paused", "was paused already")
    for name in chosen:
        if name not in known:
            click.echo(f"{name} is not known yet: it is paused from its first message on", err=True)


@queues.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=options.complete_queue)
@options.app_option("Use this application's configuration.")
@options.config_option()
def resume(names: tuple[str, ...], app: str | None, config: str | None) -> None:
    """Let workers take from paused queues again."""
    from greenq.cli import loading

    chosen = options.comma_list(names)
    with loading.client(app, config) as owner:
        loading.refuse_private(owner)
        running = set(chosen) - owner.queues.paused()
        owner.queues.resume(*chosen)
    _tell(chosen, running, "is resumed", "was not paused")


def _paused(owner: GreenQ) -> frozenset[str]:
    """The paused queues, as far as can be known: that must not keep the others from being listed."""
    try:
        return owner.queues.paused()
    except BrokerError as error:
        click.echo(f"which queues are paused is not known: {error}", err=True)
        return frozenset()


def _tell(names: Sequence[str], unchanged: Collection[str], done: str, already: str) -> None:
    for name in names:
        click.echo(f"{name} {already if name in unchanged else done}")


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
