"""What commands show: tables, progress, questions. Colours and progress only on a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

__all__ = [
    "Status",
    "ago",
    "ask",
    "count",
    "progress",
    "show_json",
    "show_table",
    "status",
    "when",
    "words",
]

Item = TypeVar("Item")


def show_json(value: Any) -> None:
    """Print `value` as JSON for programs; what JSON lacks (dates, decimals, bytes) is printed as text."""
    click.echo(
        json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None, default=_as_text)
    )


def _as_text(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print columns that line up.

    Parameters:
        header: the columns' names.
        rows: their cells; a cell may be styled.
        right: numbers of the columns that are aligned right.
    """
    lines = [[click.style(name, bold=True) for name in header], *rows]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = []
        for column, cell in enumerate(line):
            space = " " * (widths[column] - len(click.unstyle(cell)))
            cells.append(space + cell if column in right else cell + space)
        click.echo("  ".join(cells).rstrip())


def progress(items: Sequence[Item], label: str) -> Iterator[Item]:
    """Give `items` one by one, with a bar on a terminal if there are several."""
    if len(items) < 2 or not sys.stderr.isatty():
        yield from items
        return
    with click.progressbar(items, label=label, file=sys.stderr, show_pos=True) as bar:
        yield from bar


@contextlib.contextmanager
def status() -> Iterator[Status]:
    """A line on a terminal that says what is waited for, and is gone afterwards."""
    line = Status()
    try:
        yield line
    finally:
        line.clear()


class Status:
    """See `status`."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._shown = False

    def say(self, text: str) -> None:
        """Replace the line by `text` and the seconds since the beginning."""
        if self._terminal:
            click.echo(
                f"\r\033[K{text} {time.monotonic() - self._began:.0f}s", err=True, nl=False, color=True
            )
            self._shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            click.echo("\r\033[K", err=True, nl=False, color=True)
            self._shown = False


def ask(question: str, yes: bool) -> bool:
    """Ask before something is lost.

    Parameters:
        question: ends without a question mark.
        yes: the command was given --yes, so nobody is asked.

    Raises:
        UsageError: nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{question}? Nobody can be asked here: say --yes", click.get_current_context()
        )
    return click.confirm(f"{question}?", err=True)


def when(moment: float) -> str:
    """A point in time (seconds since the epoch) for people, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def ago(moment: float) -> str:
    """How long ago that was, in the largest unit that fits."""
    seconds = max(0.0, time.time() - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def count(number: int, thing: str) -> str:
    """``1 message``, ``2,000 messages``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def words(items: Iterable[str]) -> str:
    """``a, b and c``."""
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last
