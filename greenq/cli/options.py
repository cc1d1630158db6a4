"""Options that several commands share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = [
    "app_option",
    "comma_list",
    "complete_queue",
    "config_option",
    "json_option",
    "one_of",
    "yes_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def app_option(help: str = "The application, as module or module:attribute.") -> Callable[[Command], Command]:
    """-A/--app."""
    return click.option("-A", "--app", metavar="APP", help=help)


def config_option() -> Callable[[Command], Command]:
    """--config."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(),
        help="The configuration; else GREENQ_CONFIG, else greenq.yaml here.",
    )


def json_option() -> Callable[[Command], Command]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def yes_option() -> Callable[[Command], Command]:
    """--yes."""
    return click.option("-y", "--yes", is_flag=True, help="Do it without asking.")


def comma_list(values: tuple[str, ...]) -> list[str]:
    """Names given as ``a,b``, as a repeated option, or both; each once, in order."""
    names = [name.strip() for value in values for name in value.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def one_of(choices: list[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes an option whose values are checked elsewhere."""
    return lambda _ctx, _param, incomplete: [choice for choice in choices if choice.startswith(incomplete)]


def complete_queue(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The broker's queues whose names begin so."""
    names: list[str] = []
    # Nobody can read an error between two keystrokes.
    with contextlib.suppress(Exception):
        from greenq.cli import loading

        with loading.client(None, ctx.params.get("config")) as owner:
            names = sorted(owner.broker.depth())
    return [name for name in names if name.startswith(incomplete)]
