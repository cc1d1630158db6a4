"""`greenq config`: make, check and explain the configuration."""

from __future__ import annotations

import os
from typing import Any

import click

from greenq.cli import loading
from greenq.cli.ending import MISTAKE
from greenq.cli.options import app_option, config_option, json_option
from greenq.cli.screen import show_json, show_table
from greenq.config import Configuration, load
from greenq.config.loading import FILE
from greenq.errors import ConfigError

__all__ = ["config"]


@click.group()
def config() -> None:
    """Make, check and explain the configuration."""


@config.command(short_help="Write an annotated file of all defaults.")
@click.argument("path", default=FILE, type=click.Path())
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(path: str, force: bool) -> None:
    """Write an annotated greenq.yaml in which every setting is at its default."""
    from greenq.config.starter import starter

    if os.path.isdir(path):
        raise click.UsageError(f"{path} is a directory: name a file in it, {os.path.join(path, FILE)}")
    try:
        with open(path, "w" if force else "x", encoding="utf-8") as file:
            file.write(starter())
    except FileExistsError:
        raise click.UsageError(
            f"{path} is there already: name another file, or overwrite it with --force"
        ) from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {path}; check your changes with: greenq config check{_named(path)}")


@config.command(short_help="Find the mistakes: one line each, exit code 2.")
@config_option()
@click.pass_context
def check(ctx: click.Context, config: str | None) -> None:
    """Find the mistakes in the file and in the environment: one line each, exit code 2."""
    resolved = _resolve(ctx, config)
    click.echo(
        f"ok: {resolved.path}" if resolved.path else f"ok: no {FILE} here, so all but variables is default"
    )


@config.command()
@config_option()
@json_option()
@click.pass_context
def show(ctx: click.Context, config: str | None, as_json: bool) -> None:
    """Print every value and where it came from, secrets hidden."""
    resolved = _resolve(ctx, config)
    rows = resolved.describe()
    if as_json:
        values: dict[str, Any] = {row.key: {"value": row.value, "origin": row.origin} for row in rows}
        show_json({"path": str(resolved.path) if resolved.path else None, "settings": values})
        return
    table = []
    for row in rows:
        plain = [row.key, row.text, row.origin]
        table.append([click.style(cell, dim=True) for cell in plain] if row.origin == "default" else plain)
    show_table(("setting", "value", "from"), table)


@config.command()
def schema() -> None:
    """Print a JSON Schema of greenq.yaml, for editors.

    \b
    greenq config schema > greenq.schema.json
    and as the first line of greenq.yaml:
    # yaml-language-server: $schema=greenq.schema.json
    """
    import json

    from greenq.config.json_schema import json_schema

    click.echo(json.dumps(json_schema(loading.names()), indent=2))


@config.command("from-celery", short_help="Write the greenq.yaml of a Celery application.")
@app_option("The Celery application, as module or module:attribute.")
@click.pass_context
def from_celery(ctx: click.Context, app: str | None) -> None:
    """Print what a Celery application's configuration is in greenq.yaml.

    greenq worker -A goes by the application's own configuration as it is: this is for those who move on.
    Passwords are not printed; variables take their places.

    \b
    greenq config from-celery -A proj > greenq.yaml
    """
    from greenq.config.transcript import transcript

    if app is None:
        raise click.UsageError("which application? Say -A module or -A module:attribute", ctx)
    with loading.client(app, None) as owner:
        if owner.adopted is None:
            raise click.UsageError(f"{app} is no Celery application: greenq config show prints its settings")
        click.echo(f"# The configuration of the {owner.adopted}.")
        for text, advice in owner.differences():
            click.echo(f"# {text}: {advice}.")
        click.echo(transcript(owner.origin_settings()), nl=False)


def _resolve(ctx: click.Context, path: str | None) -> Configuration:
    """Load, or print the mistakes alone, which editors and CI read as ``file:line: message``, and exit."""
    try:
        return load(path, names=loading.names())
    except ConfigError as mistakes:
        click.echo(str(mistakes), err=True)
        ctx.exit(MISTAKE)


def _named(path: str) -> str:
    return "" if path == FILE else f" --config {path}"
