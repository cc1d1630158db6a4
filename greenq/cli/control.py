"""`greenq control`: tell workers what to do."""

from __future__ import annotations

from typing import Any

import click

from greenq.cli.remotely import remote_options, send

__all__ = ["control"]


@click.command()
@remote_options("control")
def control(**given: Any) -> int:
    """Tell running workers what to do.

    \b
    greenq control rate_limit shop.mail 10/m
    greenq control revoke ID             do not run this task
    greenq control terminate KILL ID     end it if it runs
    greenq control pool_grow 5 -d greenq@web1
    greenq control --list                all that can be told

    Exits with 1 if nobody answers, or a worker can't do it.
    """
    return send("control", **given)
