"""`greenq inspect`: ask workers what they do."""

from __future__ import annotations

from typing import Any

import click

from greenq.cli.remotely import remote_options, send

__all__ = ["inspect"]


@click.command()
@remote_options("inspect")
def inspect(**given: Any) -> int:
    """Ask running workers what they do.

    \b
    greenq inspect active            which tasks run
    greenq inspect stats --json      counters and sizes, for programs
    greenq inspect query_task ID     what becomes of a task
    greenq inspect --list            all that can be asked

    Exits with 1 if nobody answers.
    """
    return send("inspect", **given)
