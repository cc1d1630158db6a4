"""One crash at every named place of a message's way."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.chaos.checker import Report, check
from tests.chaos.commands import Command
from tests.chaos.failpoints import FUSED, SEPARATE, arm, struck
from tests.chaos.kills import STALLED, Progress, left_in, recorded
from tests.chaos.ledger import Ledger
from tests.chaos.producer import Producer, short
from tests.chaos.sites import Site, open_site

__all__ = ["crash_everywhere"]

CALLS = 40
PATIENCE = 60.0


def crash_everywhere(broker: str, pool: str, fused: bool, slack: float = 0.0) -> Report:
    """Crash a worker at each place in turn, and compare the ledgers.

    Parameters:
        fused: with results beside the messages; else in a place of their own.
        slack: seconds by which a busy machine may miss the bound for redeliveries.
    """
    site = open_site(broker, fused)
    app = site.app()
    ledger = Ledger(site.ledger)
    progress = Progress(ledger)
    places = FUSED if fused else SEPARATE
    missed: list[str] = []
    sent: set[str] = set()
    try:
        for number, name in enumerate(places):
            point = site.path / "failpoint"
            arm(point, name)
            calls = Producer(app, ledger, CALLS, short(random.Random(number)), CALLS, int, name=f"{number}-")
            calls.start()
            assert calls.finished.wait(PATIENCE)
            if calls.error is not None:
                raise calls.error
            sent.update(f"{number}-{n}" for n in range(CALLS))
            if not _pass(site, pool, point, progress, len(sent), f"{number}"):
                missed.append(name)
                point.unlink(missing_ok=True)
        report = check(ledger.entries(), recorded(app, sent - progress.ended), copies=site.copies)
        report.problems += left_in(app)
        report.faults = len(places)
        report.bound({"kill": 1.0 + slack})
        report.problems += [f"nothing came to the place {name!r}" for name in missed]
        return report
    finally:
        app.close()
        site.close()


def _pass(site: Site, pool: str, point: Path, progress: Progress, count: int, name: str) -> bool:
    """Start a command, and wait until `count` calls have ended; whether it crashed on the way."""
    command = Command(site, pool, settings={"worker.lease": "30s"}, failpoint=point, name=f"w{name}")
    try:
        progress.moved = time.monotonic()
        while progress.count() < count and time.monotonic() - progress.moved < STALLED:
            time.sleep(0.01)
        return struck(point)
    finally:
        command.stop(PATIENCE)
        command.close()
