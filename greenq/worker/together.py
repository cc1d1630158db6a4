"""Many deliveries of one task in one run: the function is called once, and each gets an end of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from greenq.batches import BatchItem, Members, gathered
from greenq.errors import MessageError
from greenq.message import Delivery, Outcome
from greenq.protocol import TaskCall
from greenq.request import current
from greenq.worker.handlers import Handler

__all__ = ["run_together"]


class OneByOne(Protocol):
    """The part of a runner that is needed here."""

    def run(self, delivery: Delivery) -> Outcome:
        """See `Runner.run`."""

    def read(self, delivery: Delivery) -> tuple[Handler, TaskCall]:
        """See `Runner.read`."""

    def item(self, delivery: Delivery, call: TaskCall) -> BatchItem:
        """See `Runner.item`."""

    def carry_out(self, delivery: Delivery, handler: Handler, request: BatchItem, limited: bool) -> Outcome:
        """See `Runner.carry_out`."""


def run_together(runner: OneByOne, deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Run them; who can't be read, has expired or comes early takes no part and ends as it would alone.

    All carry the same name of a task, so that those which can be read have the same handler.
    """
    outcomes: list[Outcome] = []
    members: list[tuple[Delivery, Handler, BatchItem, bool]] = []
    now = time.time()
    for delivery in deliveries:
        try:
            handler, call = runner.read(delivery)
        except MessageError:
            outcomes.append(runner.run(delivery))
            continue
        if (call.expires is not None and call.expires <= now) or (call.eta is not None and call.eta > now):
            outcomes.append(runner.run(delivery))
            continue
        members.append((delivery, handler, runner.item(delivery, call), call.time_limit is not None))
    if members:
        task: Any = members[0][1].task
        gathered.set(Members(task, [item for _, _, item, _ in members]))
        for delivery, handler, item, limited in members:
            current.set(item)
            outcomes.append(runner.carry_out(delivery, handler, item, limited))
    return outcomes
