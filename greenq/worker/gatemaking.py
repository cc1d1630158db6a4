"""Makes what keeps tasks' limits; it is there only where some task has any."""

from __future__ import annotations

from greenq.app import GreenQ
from greenq.worker.gate import Gate
from greenq.worker.runner import Runner
from greenq.worker.settler import Settler

__all__ = ["gate_of", "make_gate"]


def gate_of(app: GreenQ, runner: Runner, settler: Settler, process: str) -> Gate | None:
    """A gate as `make_gate` makes it; None, and nothing to pay, where no task has limits."""
    if not any(handler.task.rules is not None for handler in runner.handlers.values()):
        return None
    return make_gate(app, runner, settler, process)


def make_gate(app: GreenQ, runner: Runner, settler: Settler, process: str) -> Gate:
    """A gate, not started yet.

    Parameters:
        process: the name under which messages are leased.

    Raises:
        ConfigError: there is no place where limits could be kept.
    """
    return Gate(
        app.throttling.store, app.codecs, settler, runner.endings, process, app.settings.worker.lease,
        app.throttling.timeout,
    )  # fmt: skip
