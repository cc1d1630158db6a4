"""`greenq doctor`: check this machine and configuration, and say what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from greenq.cli import options, screen
from greenq.cli.ending import FAILED
from greenq.errors import GreenqError

if TYPE_CHECKING:
    from greenq.cli.finding import Finding

__all__ = ["doctor"]

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@options.app_option("Import this application as a worker would; else the configuration's.")
@options.config_option()
@options.json_option()
def doctor(app: str | None, config: str | None, as_json: bool) -> int:
    """Check versions, configuration, broker, result store, patching and limits.

    Each line is ok, warn or fail; what needs attention says what to do. Exits with 1 if something fails.
    """
    found: list[Finding] = []
    above = ""
    with screen.status() as line:
        line.say("checking")
        for finding in examine(app, config):
            found.append(finding)
            if not as_json:
                line.clear()
                _show(finding, above)
                above = finding.subject
                line.say("checking")
    if as_json:
        screen.show_json([dataclasses.asdict(finding) for finding in found])
    else:
        _sum_up(found)
    return FAILED if any(finding.level == "fail" for finding in found) else 0


def examine(app: str | None, config: str | None) -> Iterator[Finding]:
    """Every check, in the order in which one depends on another."""
    from greenq.cli import loading, machine, services
    from greenq.cli.finding import fail

    configuration, findings = services.configuration(config, app)
    settings = configuration.settings if configuration else None
    yield from machine.python(settings)
    yield from machine.packages(settings)
    yield from findings
    if configuration is None or settings is None:
        return
    importable = yield from services.app_and_pool(configuration)
    try:
        # Its code may have settings too, and they are what its worker would use.
        with loading.client(importable, config) as owner:
            yield from services.adoption(owner)
            yield from services.broker(owner)
            yield from services.store(owner)
            yield from machine.open_files(owner.settings)
            yield from machine.disk(owner.settings)
            yield from machine.clock(owner.settings)
    except GreenqError as error:
        yield fail("config", str(error), "greenq worker would refuse to start like this")


def _show(finding: Finding, above: str) -> None:
    """Print a finding; what adds to the one above, and is well too, is only a remark."""
    if finding.level == "ok" and finding.subject == above:
        click.secho(f"{'':<16}{finding.text}", dim=True)
        return
    level = click.style(f"{finding.level:<4}", fg=COLOURS[finding.level], bold=finding.level != "ok")
    click.echo(f"{level}  {finding.subject:<8}  {finding.text}")
    if finding.advice:
        click.echo(f"      {'':<8}  {click.style('→', dim=True)} {finding.advice}")


def _sum_up(found: list[Finding]) -> None:
    fails = sum(finding.level == "fail" for finding in found)
    warns = sum(finding.level == "warn" for finding in found)
    if fails or warns:
        text = ", ".join(
            f"{count} to {what}" for count, what in ((fails, "fix"), (warns, "look at")) if count
        )
        click.secho(text, fg="red" if fails else "yellow", bold=True)
    else:
        click.secho("all is well", fg="green", bold=True)
