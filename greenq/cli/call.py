"""`greenq call`: send one call of a task, and perhaps wait for what it returns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from greenq.cli import options, screen
from greenq.cli.ending import FAILED, NOT_YET
from greenq.message import SUCCESS

if TYPE_CHECKING:
    from greenq.app import GreenQ

__all__ = ["call"]


@click.command()
@click.argument("task")
@click.option(
    "-a", "--args", "args_text", metavar="JSON", default="[]", help="Its arguments: '[1, \"two\"]'."
)
@click.option("-k", "--kwargs", "kwargs_text", metavar="JSON", default="{}", help="By name: '{\"size\": 3}'.")
@click.option("-w", "--wait", is_flag=True, help="Wait, and print the result as JSON.")
@click.option("--timeout", metavar="TIME", help="How long --wait waits: 30s, 5m. For ever if not given.")
@click.option("-q", "--queue", metavar="NAME", help="The queue; else the task's, the routes' or tasks.queue.")
@click.option("--countdown", metavar="TIME", help="Run it after so long: 90, 30s, 5m.")
@click.option(
    "--eta", metavar="DATE", help="Run it then: 2030-12-31T23:59:00+01:00; local time without zone."
)
@click.option("--expires", metavar="TIME|DATE", help="Don't run it after so long, or after that date.")
@click.option(
    "--priority", type=click.IntRange(0, 9), help="0 to 9; a higher number runs first, on Redis a lower one."
)
@click.option("--serializer", metavar="NAME", help="How the arguments are encoded.")
@click.option("--task-id", metavar="ID", help="Its id; a fresh one if not given.")
@options.app_option("Import this application: the task must be in it, and the arguments must fit it.")
@options.config_option()
@click.pass_context
def call(ctx: click.Context, /, task: str, app: str | None, config: str | None, **given: Any) -> int:
    """Send one call of TASK, by name, and print its id.

    With -A the application is imported: its routes and the task's own options count, and a wrong name or
    wrong arguments are refused here. Without it the name is sent as it is.

    \b
    greenq call shop.tasks.add --args '[2, 3]' --wait
    greenq call -A shop.tasks add -a '[2, 3]' --countdown 5m

    With --wait it exits with 1 if the task failed and with 3 if the time was over.
    """
    from greenq.cli import loading

    if given["timeout"] and not given["wait"]:
        raise click.UsageError("--timeout is for --wait: add it, or leave --timeout out", ctx)
    timeout = loading.seconds("--timeout", given["timeout"])
    args, kwargs = _arguments(given["args_text"], given["kwargs_text"])
    send_options = _send_options(given)
    with loading.client(app, config) as owner:
        if given["wait"] and owner.results is None:
            raise click.UsageError("no results are kept here (results.url is null): leave --wait out", ctx)
        loading.refuse_private(owner)
        if app is None:
            result = owner.send_task(task, args, kwargs, **send_options)
        else:
            result = loading.find_task(owner, task).apply_async(args, kwargs, **send_options)
        if not given["wait"]:
            click.echo(result.id)
            return 0
        return _wait(owner, result.id, timeout)


def _arguments(args_text: str, kwargs_text: str) -> tuple[list[Any], dict[str, Any]]:
    args = _json("--args", args_text)
    if not isinstance(args, list):
        raise click.UsageError(f"--args takes a JSON list, not {args_text}: write '[{args_text}]'", _ctx())
    kwargs = _json("--kwargs", kwargs_text)
    if not isinstance(kwargs, dict):
        raise click.UsageError(
            f"--kwargs takes a JSON object, not {kwargs_text}: write '{{\"name\": value}}'", _ctx()
        )
    return args, kwargs


def _json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        example = """'[1, "two"]'""" if option == "--args" else """'{"size": 3}'"""
        raise click.UsageError(f"{option} {text!r} is not JSON ({error}): write {example}", _ctx()) from None


def _ctx() -> click.Context:
    return click.get_current_context()


def _send_options(given: dict[str, Any]) -> dict[str, Any]:
    """The options of `apply_async` that were given."""
    from greenq.cli import loading

    if given["countdown"] and given["eta"]:
        raise click.UsageError("--countdown and --eta both say when: give one of them", _ctx())
    chosen = {
        "queue": given["queue"],
        "countdown": loading.seconds("--countdown", given["countdown"]),
        "eta": _date("--eta", given["eta"]),
        "expires": _expires(given["expires"]),
        "priority": given["priority"],
        "serializer": given["serializer"],
        "task_id": given["task_id"],
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _date(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise click.UsageError(
            f"{option} {text!r} is not a date: write 2030-12-31, 2030-12-31T23:59 or 2030-12-31T23:59:00Z",
            _ctx(),
        ) from None


def _expires(text: str | None) -> datetime | None:
    from greenq.cli import loading

    if text is None:
        return None
    if "-" in text[1:]:
        return _date("--expires", text)
    return datetime.now(UTC) + timedelta(seconds=loading.seconds("--expires", text) or 0)


def _wait(owner: GreenQ, task_id: str, timeout: float | None) -> int:
    from greenq.cli import answer

    result = answer.wait_for(owner, task_id, timeout)
    if result is None:
        click.echo(
            f"greenq call: no result within {timeout:g} s; if a worker runs it may still come: "
            f"greenq result {task_id} --wait",
            err=True,
        )
        return NOT_YET
    if result.state == SUCCESS:
        screen.show_json(result.value)
        return 0
    answer.complain(result)
    return FAILED
