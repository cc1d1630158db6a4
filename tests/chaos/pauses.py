"""SIGSTOP for longer than the lease, then SIGCONT: whoever was away changes nothing any more."""

from __future__ import annotations

import os
import random
import signal
import time

from greenq import Call, GreenQ
from tests.chaos.checker import Report
from tests.chaos.commands import Command
from tests.chaos.kills import Progress, finish
from tests.chaos.ledger import DONE, END, GOT, LATE, Entry, Ledger
from tests.chaos.producer import Producer
from tests.chaos.sites import open_site

__all__ = ["pause_at_random"]

LEASE = 1.0
CALLS = 20
PATIENCE = 60.0


def pause_at_random(broker: str, pool: str, pauses: int, seed: int = 1) -> Report:
    """Stop one of two workers in the middle of its work, let the other do it, and go on."""
    site = open_site(broker)
    if broker == "amqp":
        site.broker += "?heartbeat=1"
    app = site.app()
    ledger = Ledger(site.ledger)
    chance = random.Random(seed)
    settings = {"worker.lease": f"{LEASE}s"}
    commands = [Command(site, pool, settings=settings, name=f"w{n}") for n in range(2)]
    problems: list[str] = []
    try:
        for command in commands:
            command.wait_ready()
        for number in range(pauses):
            producer = Producer(
                app, ledger, CALLS,
                lambda id: Call("chaos.nap", (chance.uniform(0.2, 0.4),), options={"task_id": id}),
                CALLS, int, name=f"{number}-",
            )  # fmt: skip
            producer.start()
            assert producer.finished.wait(PATIENCE)
            problems += Pause(app, ledger, f"{number}-").run()
        report = finish(app, site, Progress(ledger))
        report.faults = pauses
        report.problems += problems
        return report
    finally:
        for command in commands:
            command.close()
        app.close()
        site.close()


class Pause:
    """One worker stopped with work in its hands, until the others have done that work."""

    def __init__(self, app: GreenQ, ledger: Ledger, prefix: str) -> None:
        self._app = app
        self._ledger = ledger
        self._prefix = prefix
        self._worker = 0

    def run(self) -> list[str]:
        """Stop it, wait, let it go on; what was wrong."""
        self._until(self._find, "no worker has anything to do")
        self._ledger.fault("stop", self._worker)
        os.kill(self._worker, signal.SIGSTOP)
        try:
            held = self._held(self._entries())
            self._until(lambda entries: held <= self._ended_elsewhere(entries), "nobody does its work")
            before = self._results(held)
        finally:
            os.kill(self._worker, signal.SIGCONT)
        self._ledger.fault("cont", self._worker)
        self._until(lambda entries: held <= self._answered(entries), "it never heard of its lost leases")
        entries = self._entries()
        problems = []
        if self._results(held) != before:
            problems.append("a result was overwritten by a worker that had lost its lease")
        taken = {e.id for e in entries if e.kind == DONE and e.process == self._worker} & held
        if taken:
            problems.append(
                f"settlements were taken from a worker that had lost its lease: {sorted(taken)[:3]}"
            )
        return problems

    def _entries(self) -> list[Entry]:
        return [entry for entry in self._ledger.entries() if entry.id.startswith(self._prefix)]

    def _find(self, entries: list[Entry]) -> bool:
        """Choose the first worker that has got something to do."""
        self._worker = next((entry.process for entry in entries if entry.kind == GOT), 0)
        return self._worker > 0

    def _held(self, entries: list[Entry]) -> set[str]:
        ours = [entry for entry in entries if entry.process == self._worker]
        return {e.id for e in ours if e.kind == GOT} - {e.id for e in ours if e.kind in (END, DONE)}

    def _ended_elsewhere(self, entries: list[Entry]) -> set[str]:
        others = [entry for entry in entries if entry.process != self._worker]
        return {entry.id for entry in others if entry.kind == DONE and entry.note == "ack"}

    def _answered(self, entries: list[Entry]) -> set[str]:
        return {e.id for e in entries if e.process == self._worker and e.kind in (LATE, DONE)}

    def _results(self, ids: set[str]) -> dict[str, object]:
        store = self._app.results
        assert store is not None
        found = store.get(list(ids), 30.0)
        return {id: (result.state, result.value) for id, result in found.items()}

    def _until(self, condition: object, otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition(self._entries()):  # type: ignore[operator]
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.02)
