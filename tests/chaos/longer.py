"""Tasks ten leases long on a busy worker: they are run once."""

from __future__ import annotations

import random
import time

from greenq import Call
from tests.chaos.checker import Report
from tests.chaos.commands import Command
from tests.chaos.kills import Progress, finish
from tests.chaos.ledger import START, Ledger
from tests.chaos.producer import Producer, short
from tests.chaos.sites import open_site

__all__ = ["outlast_leases"]

LEASE = 1.0
LONG = 10 * LEASE
COUNT = 2
"""Long tasks at once: fewer than the smallest pool has slots."""


def outlast_leases(broker: str, pool: str) -> Report:
    """Run long tasks beside many short ones, on two workers of which each could take them from the other."""
    site = open_site(broker)
    if broker == "amqp":
        site.broker += "?heartbeat=1"
    app = site.app()
    ledger = Ledger(site.ledger)
    progress = Progress(ledger)
    ended = [0]
    commands = [Command(site, pool, settings={"worker.lease": f"{LEASE}s"}, name=f"w{n}") for n in range(2)]
    try:
        for command in commands:
            command.wait_ready()
        long = Producer(
            app, ledger, COUNT,
            lambda id: Call("chaos.nap", (LONG,), options={"task_id": id}), COUNT, int, name="long",
        )  # fmt: skip
        long.start()
        assert long.finished.wait(60.0)
        others = Producer(app, ledger, 3000, short(random.Random(1)), 200, lambda: ended[0])
        others.start()
        while not others.finished.is_set():
            ended[0] = progress.count()
            time.sleep(0.02)
        report = finish(app, site, progress)
        report.faults = COUNT
        runs = [entry.id for entry in ledger.entries() if entry.kind == START and entry.id.startswith("long")]
        if len(runs) != COUNT:
            report.problems.append(f"{COUNT} tasks that outlast their leases were run {len(runs)} times")
        return report
    finally:
        for command in commands:
            command.close()
        app.close()
        site.close()
