"""The manual's page of commands."""

from __future__ import annotations

import re
from pathlib import Path

import click

from greenq.cli import ending, manual
from greenq.cli.root import root

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_page_says_what_the_commands_say() -> None:
    text = PAGE.read_text()
    assert text == manual.renewed(text), "run: python -m greenq.cli.manual docs/cli.md"


def test_every_command_and_option_is_explained() -> None:
    def walk(command: click.Command, path: str) -> None:
        assert command.help, path
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"{path} {param.opts}"
                assert param.help.endswith("."), f"{path} {param.opts}"
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                walk(below, f"{path} {name}")

    walk(root, "greenq")


def test_every_exit_code_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)}
    codes = {getattr(ending, name) for name in ending.__all__ if name.isupper()}
    assert explained == codes | {0}
