"""What processes of an isolated pool do first: load the application and become able to run its tasks."""

from __future__ import annotations

from typing import Any

from greenq.loading import load_app
from greenq.worker import logs
from greenq.worker.announcing import process_begins, process_ends
from greenq.worker.runner import Runner, become
from pools.children import LAST_ACTS
from pools.coroutines import bind

__all__ = ["set_up"]


def set_up(reference: str, overrides: dict[str, tuple[Any, str]], config: str | None, node: str) -> None:
    """Load the application as the parent has it, and make its runner this process's.

    Parameters:
        reference: where the application is, as module or module:attribute.
        overrides, config: what the command line set, and the file that it named.
        node: the worker's name.
    """
    app = load_app(reference)
    app.override(overrides, config)
    app.load_tasks()
    if not app.set_up_logs():
        logs.setup(app.settings.log, node)
    become(Runner(app, node, bind), lambda: process_begins(node))
    LAST_ACTS.append(process_ends)
