"""What `greenq inspect` and `greenq control` have in common: a command for workers, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from greenq.cli import options, screen
from greenq.cli.ending import FAILED

if TYPE_CHECKING:
    from greenq.control.panel import Command

__all__ = ["commands", "remote_options", "send"]


def commands(kind: str) -> dict[str, Command]:
    """The commands of a kind that people may use, by name."""
    from greenq.control import controlling, inspecting, panel

    assert {controlling, inspecting}  # imported for the commands that they register
    return {
        name: one
        for name, one in sorted(panel.PANEL.items())
        if one.kind == kind and one.visible and name == one.name
    }


def complete(kind: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the command's name."""
    return lambda _ctx, _param, incomplete: [name for name in commands(kind) if name.startswith(incomplete)]


def remote_options(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The arguments and options of both."""

    def around(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(
            (
                click.argument("name", metavar="COMMAND", required=False, shell_complete=complete(kind)),
                click.argument("arguments", metavar="[ARGUMENT]...", nargs=-1),
                click.option("-l", "--list", "listing", is_flag=True, help="List the commands."),
                click.option("-d", "--destination", metavar="NODES", multiple=True,
                             help="Ask these nodes only: a,b; repeatable."),
                click.option("-t", "--timeout", metavar="TIME",
                             help="How long to wait for further answers: 500ms, 3s."),
                options.json_option(),
                options.app_option("Use this application's configuration, and its own commands."),
                options.config_option(),
            )
        ):  # fmt: skip
            command = option(command)
        return command

    return around


def send(
    kind: str,
    name: str | None,
    arguments: Sequence[str],
    listing: bool,
    destination: tuple[str, ...],
    timeout: str | None,
    as_json: bool,
    app: str | None,
    config: str | None,
) -> int:
    """Send a command and show the answers; 1 if nobody answered, or somebody could not do it."""
    from greenq.cli import loading
    from greenq.cli.answers import is_bad, show_answers
    from greenq.control.inspection import by_node

    with loading.client(app, config) as owner:
        known = commands(kind)
        if listing:
            _list(known, as_json)
            return 0
        chosen = _chosen(kind, name, known)
        patience = loading.seconds("--timeout", timeout) or max(chosen.timeout, 1.0)
        given = _read(chosen, list(arguments))
        nodes = options.comma_list(destination) or None
        loading.refuse_private(owner)
        replies = owner.control.broadcast(
            chosen.name, given, destination=nodes, reply=True, timeout=patience, limit=len(nodes or ())
        )
    found = by_node(replies or [])
    if as_json:
        screen.show_json(found)
    elif found:
        show_answers(found)
    if not found:
        click.echo(f"no worker answered within {patience:g} s", err=True)
    return FAILED if not found or any(map(is_bad, found.values())) else 0


def _list(known: dict[str, Command], as_json: bool) -> None:
    if as_json:
        screen.show_json(
            {name: {"arguments": one.signature, "help": one.help} for name, one in known.items()}
        )
    else:
        screen.show_table(
            ["command", "arguments", ""], [[name, one.signature, one.help] for name, one in known.items()]
        )


def _chosen(kind: str, name: str | None, known: dict[str, Command]) -> Command:
    if name in known:
        return known[name or ""]
    context = click.get_current_context()
    if name is None:
        raise click.UsageError(f"which command? greenq {kind} --list shows them", context)
    near = get_close_matches(name, known, 2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"greenq {kind} --list shows them"
    raise click.UsageError(f"there is no command {name!r}: {hint}", context)


def _read(command: Command, words: list[str]) -> dict[str, Any]:
    """The arguments by name."""
    context = click.get_current_context()
    given: dict[str, Any] = {}
    for name, read in command.args:
        if words:
            word = words.pop(0)
            try:
                given[name] = read(word)
            except ValueError as error:
                why = "it must be a number" if read in (int, float) else str(error)
                raise click.UsageError(f"{name} can't be {word!r}: {why}", context) from None
    if command.variadic:
        given[command.variadic] = words
    elif words:
        raise click.UsageError(f"{command.name} takes {command.signature or 'no arguments'}", context)
    return given
