"""`greenq result`: show what became of a call."""

from __future__ import annotations

import click

from greenq.cli import options, screen
from greenq.cli.ending import FAILED, NOT_YET
from greenq.message import PENDING, READY_STATES, SUCCESS

__all__ = ["result"]


@click.command()
@click.argument("task_id", metavar="ID")
@click.option("-w", "--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", metavar="TIME", help="How long --wait waits: 30s, 5m. For ever if not given.")
@options.json_option()
@options.app_option("Use this application's configuration.")
@options.config_option()
@click.pass_context
def result(
    ctx: click.Context,
    task_id: str,
    wait: bool,
    timeout: str | None,
    as_json: bool,
    app: str | None,
    config: str | None,
) -> int:
    """Show the state of the call with this ID, and what it returned.

    The value is printed as JSON; state and failure go to standard error. Exits with 0 if the call succeeded,
    1 if it failed, 3 if nothing is stored of it (yet).
    """
    from greenq.cli import answer, loading

    if timeout and not wait:
        raise click.UsageError("--timeout is for --wait: add it, or leave --timeout out", ctx)
    limit = loading.seconds("--timeout", timeout)
    with loading.client(app, config) as owner:
        found = answer.wait_for(owner, task_id, limit) if wait else None
        found = found or answer.look_up(owner, task_id)
    if as_json:
        screen.show_json(answer.record(found) if found else {"task_id": task_id, "status": PENDING})
    elif found:
        answer.show(found)
    else:
        kept = "it still waits or runs, its results are not kept, they expired, or the id is wrong"
        click.echo(
            f"{click.style(PENDING, fg='yellow', bold=True)}  {task_id}: nothing is stored; {kept}", err=True
        )
    if found is None or found.state not in READY_STATES:
        return NOT_YET
    return 0 if found.state == SUCCESS else FAILED
