"""SIGTERM at random moments under load: the command ends in time, and nothing is lost."""

from __future__ import annotations

import random
import threading
import time

from greenq import Call
from tests.chaos.checker import Report
from tests.chaos.commands import Command
from tests.chaos.kills import Progress, finish
from tests.chaos.ledger import Ledger
from tests.chaos.producer import Maker, Producer
from tests.chaos.sites import Site, open_site

__all__ = ["stop_at_random"]

SHUTDOWN = 1.0
CALLS_OF_A_STOP = 60
LANES = 3
"""Commands that work and are stopped side by side: most of a command's life goes into its start."""


def stop_at_random(broker: str, pool: str, stops: int, seed: int = 1, slack: float = 0.0) -> Report:
    """Stop commands again and again while they work, and compare the ledgers."""
    site = open_site(broker)
    app = site.app()
    ledger = Ledger(site.ledger)
    progress = Progress(ledger)
    lanes = min(LANES, stops)
    chance = random.Random(seed)
    stopping = [
        Lane(site, pool, n, len(range(n, stops, lanes)), random.Random(seed + n)) for n in range(lanes)
    ]
    producer = Producer(
        app, ledger, stops * CALLS_OF_A_STOP, _calls(chance), 4 * CALLS_OF_A_STOP * lanes, lambda: ended[0]
    )
    ended = [0]
    try:
        producer.start()
        for lane in stopping:
            lane.thread.start()
        while any(lane.thread.is_alive() for lane in stopping):
            ended[0] = progress.count()
            time.sleep(0.05)
        last = Command(site, pool, name="last")
        try:
            while not producer.finished.is_set():
                ended[0] = progress.count()
                time.sleep(0.05)
            if producer.error is not None:
                raise producer.error
            report = finish(app, site, progress)
        finally:
            last.close()
        _judge(report, stopping, slack)
        return report
    finally:
        for lane in stopping:
            lane.close()
        app.close()
        site.close()


def _calls(chance: random.Random) -> Maker:
    """Calls of which some outlast the time that a stop leaves them."""

    def make(id: str) -> Call[object]:
        options = {"task_id": id}
        kind = chance.random()
        if kind < 0.1:
            return Call("chaos.nap", (chance.uniform(1.0, 1.6),), options=options)
        if kind < 0.2:
            return Call("chaos.again", (1,), options=options)
        return Call("chaos.nap", (chance.uniform(0.0, 0.2),), options=options)

    return make


class Lane:
    """A command that is started, stopped at a random moment, and started anew."""

    def __init__(self, site: Site, pool: str, number: int, stops: int, chance: random.Random) -> None:
        self._stops = stops
        self._chance = chance
        settings = {"worker.shutdown_timeout": f"{SHUTDOWN}s", "worker.lease": "30s"}
        self._make = lambda: Command(site, pool, settings=settings, name=f"lane{number}")
        self._command: Command | None = None
        self.ends: list[tuple[int | None, float]] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for _ in range(self._stops):
                self._command = self._make()
                self._command.wait_ready()
                time.sleep(self._chance.uniform(0.0, 0.8))
                self.ends.append(self._command.stop(SHUTDOWN + 60.0))
        except BaseException as error:
            self.error = error

    def close(self) -> None:
        """End the command, should it still be there."""
        if self._command is not None:
            self._command.close()


def _judge(report: Report, lanes: list[Lane], slack: float) -> None:
    """Add what the ends of the commands tell."""
    for lane in lanes:
        if lane.error is not None:
            raise lane.error
    ends = [end for lane in lanes for end in lane.ends]
    report.faults = len(ends)
    report.slowest = {"stop": max(seconds for _, seconds in ends)}
    report.bound({"stop": SHUTDOWN + 1.0 + slack})
    codes = sorted({str(code) for code, _ in ends if code != 0})
    if codes:
        report.problems.append(f"commands that were stopped ended with {', '.join(codes)} and not with 0")
