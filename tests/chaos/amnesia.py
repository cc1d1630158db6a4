"""A broker that comes back without what it had: what was in it is gone, and the workers go on."""

from __future__ import annotations

import random
import time

from greenq import GreenQ
from tests.chaos.checker import Report, check
from tests.chaos.commands import Command
from tests.chaos.kills import Progress, left_in
from tests.chaos.ledger import Ledger
from tests.chaos.producer import Producer, short
from tests.chaos.sites import open_site

__all__ = ["forget_everything"]

CALLS = 100
PATIENCE = 90.0


def forget_everything(broker: str, pool: str, times: int) -> Report:
    """Restart the broker empty under a worker at work; what is sent from then on is done, all of it."""
    site = open_site(broker, own=True)
    app = site.app()
    ledger = Ledger(site.ledger)
    progress = Progress(ledger)
    command = Command(site, pool, settings={"worker.lease": "2s"})
    slowest = 0.0
    try:
        command.wait_ready()
        restarts = []
        for number in range(times):
            _send(app, ledger, f"lost{number}-")
            time.sleep(random.Random(number).uniform(0.0, 0.5))
            restarts.append(time.monotonic())
            site.restart(0.2)
            back = time.monotonic()
            _wait(progress, _send(app, ledger, f"kept{number}-"))
            slowest = max(slowest, time.monotonic() - back)
        entries = [entry for entry in ledger.entries() if not entry.id.startswith("lost")]
        report = check(entries, (), restarts)
        report.problems += left_in(app)
        report.faults = times
        report.slowest = {"restart": slowest}
        return report
    finally:
        command.close()
        app.close()
        site.close()


def _send(app: GreenQ, ledger: Ledger, name: str) -> set[str]:
    """Send some calls; their ids."""
    producer = Producer(app, ledger, CALLS, short(random.Random(name)), CALLS, int, name=name)
    producer.start()
    assert producer.finished.wait(PATIENCE), "nothing can be sent"
    if producer.error is not None:
        raise producer.error
    return {f"{name}{number}" for number in range(CALLS)}


def _wait(progress: Progress, ids: set[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ids <= progress.ended:
        assert time.monotonic() < deadline, f"not done: {sorted(ids - progress.ended)[:5]}"
        progress.count()
        time.sleep(0.02)
