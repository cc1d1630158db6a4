"""What commands work on: the configuration, and the application if one was named."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from greenq.errors import AppError, BrokerError

if TYPE_CHECKING:
    from greenq.app import GreenQ
    from greenq.task import Task

__all__ = ["address", "chosen_app", "client", "find_task", "names", "refuse_private", "seconds", "some"]


@contextlib.contextmanager
def client(app: str | None, config: str | None) -> Iterator[GreenQ]:
    """An application to send with and to look things up in, closed afterwards.

    Parameters:
        app: module or module:attribute to import; None makes one from the configuration alone.
        config: path of the configuration.

    Raises:
        ConfigError, AppError: see `greenq.config.load` and `greenq.loading.load_app`.
    """
    if app is None:
        from greenq.app import GreenQ

        owner = GreenQ("greenq", config=config)
    else:
        from greenq.loading import load_app

        # What it prints while it is imported must not get between the lines that programs read.
        with contextlib.redirect_stdout(sys.stderr):
            owner = load_app(app)
            if config is not None:
                owner.override({}, config)
            owner.load_tasks()
    try:
        yield owner
    finally:
        owner.close()


def chosen_app(app: str | None, config: str | None) -> str:
    """The application to import: the one that was named, else the configuration's.

    Raises:
        AppError: neither names one.
    """
    if app is None:
        from greenq.config import load

        app = load(config, names=names()).settings.app
    if app is None:
        raise AppError("which application? Say -A module:attribute, or set app: in greenq.yaml")
    return app


def names() -> dict[str, list[str]]:
    """What pools, serializers and compressions there are, for `greenq.config.load`."""
    from greenq.codecs.table import compression_names, serializer_names
    from pools import table

    return {"pool": table.names(), "serializer": serializer_names(), "compression": compression_names()}


def find_task(app: GreenQ, name: str) -> Task[Any, Any]:
    """The registered task of that name.

    Raises:
        UsageError: there is none; says which is meant.
    """
    if name in app.tasks:
        return app.tasks[name]
    # Often the module is left out, or the name is written as it is imported elsewhere.
    short = [known for known in app.tasks if known.rpartition(".")[2] == name.rpartition(".")[2]]
    near = short or get_close_matches(name, app.tasks, 2)
    hint = f"did you mean {' or '.join(near[:2])}?" if near else "greenq tasks lists those it has"
    raise click.UsageError(f"the application has no task {name!r}: {hint}", click.get_current_context())


def refuse_private(app: GreenQ) -> None:
    """Refuse a broker that no worker could share with this process."""
    if not app.broker.guarantees.shared:
        raise BrokerError(
            f"{address(app)} lives in one process only, so no worker would see what this "
            "command sends: set broker.url to a broker that processes share, such as sqlite:///greenq.db"
        )


def seconds(option: str, text: str | None) -> float | None:
    """Read a duration as the configuration does.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    from greenq.config.mistakes import Wrong
    from greenq.config.units import read_seconds

    try:
        return read_seconds(text)
    except Wrong as wrong:
        mend = f": {wrong.mend}" if wrong.mend else ""
        raise click.UsageError(
            f"{option} {wrong.what}, not {text!r}{mend}", click.get_current_context()
        ) from None


def address(app: GreenQ) -> str:
    """Where the application's messages are, for people."""
    from greenq.config.masking import mask

    return mask(app.settings.broker.url)


def some(names: list[str], most: int = 4) -> str:
    """The first few names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
