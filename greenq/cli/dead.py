"""`greenq dead`: look after messages that were given up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from greenq.cli import options, screen
from greenq.cli.options import Command
from greenq.message import DeadLetter

if TYPE_CHECKING:
    from greenq.deadletters import DeadLetters

__all__ = ["dead"]


@click.group(no_args_is_help=False)
def dead() -> None:
    """Look after messages that were given up.

    A message goes there when it can't be decoded, when its task is unknown, when its worker died too often
    over it, or when the task rejects it. It stays until it is replayed or purged.
    """


def queue_option(help: str) -> Callable[[Command], Command]:
    """--queue."""
    return click.option("-q", "--queue", metavar="NAME", shell_complete=options.complete_queue, help=help)


@dead.command("list")
@queue_option("Only those of this queue.")
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(min=1), help="The newest so many."
)
@options.json_option()
@options.app_option("Use this application's configuration.")
@options.config_option()
def list_dead(queue: str | None, limit: int, as_json: bool, app: str | None, config: str | None) -> None:
    """List dead letters, the newest first."""
    from greenq.cli import loading

    with loading.client(app, config) as owner:
        letters = owner.dead.list(queue, limit)
    if as_json:
        screen.show_json([_as_record(letter) for letter in letters])
        return
    if not letters:
        click.echo(f"no dead letters{f' in {queue}' if queue else ''}", err=True)
        return
    rows = [
        [letter.key, screen.ago(letter.died), letter.queue, _header(letter, "task"), _one_line(letter.reason)]
        for letter in letters
    ]
    header = ["key", "died", "queue", "task", "reason"]
    used = sum(max(len(row[column]) for row in [header, *rows]) + 2 for column in range(4))
    room = max(30, shutil.get_terminal_size((10_000, 24)).columns - used)
    for row in rows:
        row[4] = row[4] if len(row[4]) <= room else f"{row[4][: room - 1]}…"
    screen.show_table(header, rows)
    if len(letters) == limit:
        click.secho(f"the newest {limit}; --limit shows more", err=True, dim=True)


@dead.command()
@click.argument("key")
@options.json_option()
@options.app_option("Use this application's configuration.")
@options.config_option()
def show(key: str, as_json: bool, app: str | None, config: str | None) -> None:
    """Show all that is known of the dead letter KEY."""
    from greenq.cli import loading

    with loading.client(app, config) as owner:
        letter = _find(owner.dead, key)
    if as_json:
        screen.show_json(_as_record(letter))
        return
    for name, value in (
        ("reason", letter.reason),
        ("died", f"{screen.when(letter.died)} ({screen.ago(letter.died)})"),
        ("queue", letter.queue),
        ("task", _header(letter, "task")),
        ("id", _header(letter, "id")),
        ("args", _header(letter, "argsrepr")),
        ("kwargs", _header(letter, "kwargsrepr")),
        ("origin", _header(letter, "origin")),
        ("body", _body(letter)),
    ):
        if value:
            click.echo(f"{click.style(f'{name:<7}', dim=True)} {value}")
    if letter.trace:
        click.echo()
        click.echo(letter.trace.rstrip())


@dead.command()
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, or of --queue.")
@queue_option("With --all: only those of this queue.")
@options.app_option("Use this application's configuration.")
@options.config_option()
@click.pass_context
def replay(
    ctx: click.Context,
    keys: tuple[str, ...],
    everything: bool,
    queue: str | None,
    app: str | None,
    config: str | None,
) -> None:
    """Send dead letters to their queues again, their attempts and recorded ends forgotten."""
    from greenq.cli import loading

    if bool(keys) == everything:
        raise click.UsageError("say which: their keys (greenq dead list shows them), or --all", ctx)
    if queue and not everything:
        raise click.UsageError("--queue goes with --all: leave it out", ctx)
    with loading.client(app, config) as owner:
        there = {letter.key: letter for letter in owner.dead.list(queue, None)}
        chosen = list(there) if everything else list(keys)
        gone = [
            key
            for key in screen.progress(chosen, "replaying")
            if key not in there or not owner.dead.replay(there[key])
        ]
    click.echo(f"replayed {len(chosen) - len(gone):,} of {len(chosen):,}")
    if gone:
        raise click.UsageError(f"not there: {', '.join(gone)} (greenq dead list shows those that are)", ctx)


@dead.command()
@queue_option("Only those of this queue.")
@options.yes_option()
@options.app_option("Use this application's configuration.")
@options.config_option()
def purge(queue: str | None, yes: bool, app: str | None, config: str | None) -> None:
    """Drop dead letters for ever.

    Asks first; where nobody can be asked, --yes is needed.
    """
    from greenq.cli import loading

    with loading.client(app, config) as owner:
        number = sum(depth.dead for name, depth in owner.broker.depth().items() if queue in (None, name))
        of = f" of {queue}" if queue else ""
        if not number:
            click.echo(f"no dead letters{of}", err=True)
            return
        if not screen.ask(f"Drop {screen.count(number, 'dead letter')}{of} for ever", yes):
            click.echo("nothing was dropped", err=True)
            return
        dropped = owner.dead.purge(queue)
    click.echo(f"dropped {screen.count(dropped, 'dead letter')}{of}")


def _find(letters: DeadLetters, key: str) -> DeadLetter:
    letter = letters.find(key)
    if letter is not None:
        return letter
    raise click.UsageError(
        f"there is no dead letter {key!r}: greenq dead list shows those that are", click.get_current_context()
    )


def _header(letter: DeadLetter, name: str) -> str:
    value = letter.message.headers.get(name) if letter.message else None
    return "" if value is None else _one_line(str(value))


def _body(letter: DeadLetter) -> str:
    data = letter.message.body if letter.message else letter.raw
    kind = f" of {letter.message.content_type}" if letter.message else ", its envelope unreadable"
    start = data[:200].decode("utf-8", "backslashreplace")
    return f"{len(data):,} bytes{kind}: {_one_line(start)}{'…' if len(data) > 200 else ''}"


def _one_line(text: str) -> str:
    """Text from elsewhere: its control characters must not reach a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _as_record(letter: DeadLetter) -> dict[str, Any]:
    message = letter.message
    return {
        "key": letter.key,
        "queue": letter.queue,
        "reason": letter.reason,
        "died": letter.died,
        "headers": message.headers if message else None,
        "content_type": message.content_type if message else None,
        "body": message.body if message else letter.raw,
        "traceback": letter.trace,
    }
