"""`greenq tasks`: list an application's tasks with their signatures."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from greenq.cli import options, screen

if TYPE_CHECKING:
    from greenq.task import Task

__all__ = ["tasks"]


@click.command()
@options.app_option("The application, as module or module:attribute; else the configuration's.")
@options.config_option()
@options.json_option()
def tasks(app: str | None, config: str | None, as_json: bool) -> None:
    """List an application's tasks with their signatures.

    The first line of a task's docstring and the options that it was given follow.
    """
    from greenq.cli import loading

    with loading.client(loading.chosen_app(app, config), config) as owner:
        found = [_describe(owner.tasks[name]) for name in sorted(owner.tasks)]
        empty = f"{owner.main} has no tasks: decorate functions with @app.task, and import their modules"
    if as_json:
        screen.show_json(found)
        return
    if not found:
        click.echo(empty, err=True)
    for task in found:
        _show(task)


def _describe(task: Task[Any, Any]) -> dict[str, Any]:
    function = inspect.unwrap(task.run)
    return {
        "name": task.name,
        "signature": _signature(function),
        "async": task.is_coroutine,
        "doc": (inspect.getdoc(function) or "").partition("\n")[0],
        "options": {name: _plain(value) for name, value in task.declared.items()},
    }


def _signature(function: Any) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(…)"


def _plain(value: Any) -> Any:
    """An option's value as text where JSON and people would not read it."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _show(task: dict[str, Any]) -> None:
    kind = click.style("async ", dim=True) if task["async"] else ""
    click.echo(f"{kind}{click.style(task['name'], bold=True)}{task['signature']}")
    if task["doc"]:
        click.echo(f"    {task['doc']}")
    if task["options"]:
        given = ", ".join(f"{name}={_text(value)}" for name, value in task["options"].items())
        click.secho(f"    {given}", dim=True)


def _text(value: Any) -> str:
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, list) else str(value)
