"""One crash at every named place of a message's way."""

from __future__ import annotations

import random
import time
from pathlib import Path

from greenq import GreenQ
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
    problems: list[str] = []
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
            struck_there, left = _pass(site, app, pool, point, progress, len(sent), f"{number}")
            problems += [f"after a crash where {name!r}: {what}" for what in left]
            if not struck_there:
                missed.append(name)
                point.unlink(missing_ok=True)
        report = check(ledger.entries(), recorded(app, sent - progress.ended), copies=site.copies)
        report.problems += problems
        report.faults = len(places)
        report.bound({"kill": 1.0 + slack})
        report.problems += [f"nothing came to the place {name!r}" for name in missed]
        return report
    finally:
        app.close()
        site.close()


def _pass(
    site: Site, app: GreenQ, pool: str, point: Path, progress: Progress, count: int, name: str
) -> tuple[bool, list[str]]:
    """Run a command until `count` calls have ended and been settled.

    Returns:
        Whether it crashed on the way, and what the broker still has nevertheless.
    """
    command = Command(site, pool, settings={"worker.lease": "30s"}, failpoint=point, name=f"w{name}")
    try:
        progress.moved = time.monotonic()
        while progress.count() < count and time.monotonic() - progress.moved < STALLED:
            time.sleep(0.01)
        # What had ended when its process crashed, and was not settled, is run once more.
        left = left_in(app)
        return struck(point), left
    finally:
        command.stop(PATIENCE)
        command.close()
