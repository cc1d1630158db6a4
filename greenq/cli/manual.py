"""Write the commands' part of docs/cli.md from the commands themselves.

``python -m greenq.cli.manual docs/cli.md`` brings the page up to date; a test fails when it isn't.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from greenq.cli.root import root

__all__ = ["BEGIN", "END", "reference", "renewed"]

BEGIN = "<!-- made by python -m greenq.cli.manual docs/cli.md: change the commands, not these lines -->"
END = "<!-- end of the made part -->"


def reference() -> str:
    """Every command with its help, arguments and options, as Markdown."""
    context = click.Context(root, info_name="greenq")
    return "\n".join(_section(root, context)).strip() + "\n"


def renewed(page: str) -> str:
    """The page with its made part made anew.

    Raises:
        ValueError: the page has no such part.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    if context.parent is not None:
        yield f"## {context.command_path}\n"
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"```text\n{context.command_path} {usage}\n```\n"
        yield from _paragraphs(inspect.cleandoc(command.help or ""))
        yield from _options(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _section(below, click.Context(below, info_name=name, parent=context))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.lstrip("\b\n")
            yield f"```text\n{lines}\n```\n"
        else:
            yield f"{' '.join(paragraph.split())}\n".replace("%h", "`%h`").replace("%i", "`%i`")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = [
        record
        for param in command.get_params(context)
        if isinstance(param, click.Option) and "--help" not in param.opts
        if (record := param.get_help_record(context)) is not None
    ]
    if not rows:
        return
    yield "| option | |\n| --- | --- |"
    for names, help in rows:
        cell = help.replace("|", "\\|").replace("*", "\\*")
        yield f"| `{names}` | {cell} |".replace("TIME|DATE", "TIME\\|DATE")
    yield ""


def main() -> None:
    """Renew the page that the first argument names."""
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text()))


if __name__ == "__main__":
    main()
