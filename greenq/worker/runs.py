"""What runs in the pool: one delivery, or several of one task; tagged to each call of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from greenq.message import Delivery
from greenq.worker.handlers import Handler, limits_of

__all__ = ["GIVEN_UP", "LIMIT", "SHUTDOWN", "TERMINATED", "BatchRun", "Observer", "Run", "deliveries_of"]

LIMIT, SHUTDOWN, GIVEN_UP, TERMINATED = "limit", "shutdown", "given up", "terminated"
"""Why a run is ended from outside: its hard limit, the worker's stop, a stop that could not end it, or that
it was revoked."""


class Run:
    """A delivery that is running: what limits, shutdown and remote control need to know of it.

    Attributes:
        hard, soft: its limits in seconds, or None. `soft` becomes None once it was raised.
        ending: why it is being ended from outside, None while nobody does.
        ended: when that was first tried, by the pool's clock; not set before.
        signum: the signal that a revoked one is ended with; not set for others.
    """

    __slots__ = ("delivery", "ended", "ending", "handler", "hard", "signum", "soft")

    ended: float
    signum: int
    hard: float | None
    soft: float | None

    def __init__(self, delivery: Delivery, handler: Handler | None) -> None:
        self.delivery = delivery
        self.handler = handler
        self.ending: str | None = None
        message = delivery.message
        if message is None:
            self.hard = self.soft = None
            return
        own = message.headers.get("timelimit")
        if handler is not None and (own is None or own == handler.declared):
            # Nearly always: the call has no limits of its own, or brings those of its task's declaration.
            self.hard, self.soft = handler.time_limit, handler.soft_time_limit
        else:
            self.hard, self.soft = limits_of(handler, message.headers)


class BatchRun(Run):
    """Deliveries of one task that run together, within the shortest of their limits."""

    __slots__ = ("deliveries",)

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__(runs[0].delivery, runs[0].handler)
        self.deliveries = [run.delivery for run in runs]
        self.hard = min((run.hard for run in runs if run.hard is not None), default=None)
        self.soft = min((run.soft for run in runs if run.soft is not None), default=None)


def deliveries_of(run: Run) -> Sequence[Delivery]:
    """What runs there."""
    return run.deliveries if isinstance(run, BatchRun) else (run.delivery,)


class Observer(Protocol):
    """Is told what happens to deliveries, while somebody wants to know."""

    def received(self, deliveries: Sequence[Delivery]) -> None:
        """These have been fetched."""

    def started(self, runs: Sequence[Run]) -> None:
        """These are about to start."""
