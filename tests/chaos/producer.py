"""Sends calls under faults, and records which of them the broker confirmed."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator

from greenq import Call, GreenQ
from greenq.errors import GreenqError, PartlySent, PublishTimeout
from tests.chaos.ledger import SENT, UNSURE, Ledger

__all__ = ["Producer", "mixed", "short"]

BATCH = 50
PATIENCE = 120.0
"""Seconds that a broker may be away before the producer gives up."""

Maker = Callable[[str], Call[object]]


def mixed(random: random.Random) -> Maker:
    """Calls of every kind: short and long ones, some that fail, some that are retried."""

    def make(id: str) -> Call[object]:
        kind = random.random()
        options = {"task_id": id}
        if kind < 0.40:
            return Call("chaos.quick", options=options)
        if kind < 0.80:
            return Call("chaos.nap", (random.uniform(0.001, 0.1),), options=options)
        if kind < 0.88:
            return Call("chaos.nap", (random.uniform(0.3, 1.0),), options=options)
        if kind < 0.95:
            return Call("chaos.again", (random.randint(1, 2),), options=options)
        return Call("chaos.fail", options=options)

    return make


def short(random: random.Random) -> Maker:
    """Calls that end soon, a third of them after a retry."""

    def make(id: str) -> Call[object]:
        options = {"task_id": id}
        if random.random() < 0.34:
            return Call("chaos.again", (1,), options=options)
        return Call("chaos.nap", (random.uniform(0.0, 0.05),), options=options)

    return make


class Producer:
    """Sends so many calls, at the pace that the work is done.

    Parameters:
        make: the call with an id.
        most: how many calls may be sent and have no end yet.
        ended: how many have.
    """

    def __init__(
        self,
        app: GreenQ,
        ledger: Ledger,
        count: int,
        make: Maker,
        most: int,
        ended: Callable[[], int],
        name: str = "t",
    ) -> None:
        self._app = app
        self._ledger = ledger
        self._count = count
        self._make = make
        self._most = most
        self._ended = ended
        self._name = name
        self.sent = 0
        self.finished = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to send, in a thread of its own."""
        self.thread.start()

    def _run(self) -> None:
        try:
            for batch in self._batches():
                while self.sent - self._ended() > self._most:
                    time.sleep(0.01)
                self._send(batch)
        except BaseException as error:
            self.error = error
        finally:
            self.finished.set()

    def _batches(self) -> Iterator[list[str]]:
        ids = (f"{self._name}{number}" for number in range(self._count))
        while batch := list(itertools.islice(ids, BATCH)):
            yield batch

    def _send(self, ids: list[str]) -> None:
        deadline = time.monotonic() + PATIENCE
        while ids:
            failed = self._attempt(ids)
            sent = [id for id in ids if id not in failed]
            unsure = [id for id, error in failed.items() if isinstance(error, PublishTimeout)]
            self._ledger.write(SENT, [(id, 0, "") for id in sent])
            self._ledger.write(UNSURE, [(id, 0, "") for id in unsure])
            self.sent += len(sent)
            ids = [id for id in failed if id not in unsure]
            if ids:
                assert time.monotonic() < deadline, f"nothing can be sent: {failed[ids[0]]}"
                time.sleep(0.1)

    def _attempt(self, ids: list[str]) -> dict[str, GreenqError]:
        """Send; what was not confirmed, and why."""
        calls = {id: self._make(id) for id in ids}
        try:
            self._app.send_many(calls.values())
        except PartlySent as error:
            return {call.options["task_id"]: problem for call, problem in error.failed}
        except GreenqError as error:
            return dict.fromkeys(ids, error)
        return {}
