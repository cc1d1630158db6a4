"""The command `greenq`: a table of commands, each imported when it is called."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "root"]

COMMANDS: dict[str, tuple[str, str]] = {
    "worker": ("greenq.cli.worker", "Run an application's tasks until it is told to stop."),
    "call": ("greenq.cli.call", "Send one call of TASK, by name, and print its id."),
    "result": ("greenq.cli.result", "Show the state of the call with this ID, and what it returned."),
    "tasks": ("greenq.cli.tasks", "List an application's tasks with their signatures."),
    "queues": ("greenq.cli.queues", "Look into queues, pause and empty them."),
    "inspect": ("greenq.cli.inspect", "Ask running workers what they do."),
    "control": ("greenq.cli.control", "Tell running workers what to do."),
    "dead": ("greenq.cli.dead", "Look after messages that were given up."),
    "config": ("greenq.cli.config", "Make, check and explain the configuration."),
    "doctor": (
        "greenq.cli.doctor",
        "Check versions, configuration, broker, result store, patching and limits.",
    ),
    "completion": ("greenq.cli.completion", "Print the completion script for a shell."),
}
"""Name → module (the command is its attribute of the same name) and the line in ``greenq --help``.

The lines stand here so that help and completion import no command.
"""


class Root(click.Group):
    """Finds commands in the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]


def show_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        from importlib.metadata import version

        click.echo(f"greenq {version('greenq')}")
        ctx.exit()


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="greenq COMMAND --help explains a command.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=show_version,
    help="Print the version.",
)
@click.pass_context
def root(ctx: click.Context, /) -> None:
    """A task queue and green-thread worker that speaks Celery's wire protocol."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
