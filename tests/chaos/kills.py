"""Random SIGKILLs of workers, supervisors and pools' children while the work goes on."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import psutil

from greenq import GreenQ
from greenq.message import FAILURE, Depth
from tests.chaos.checker import Report, check
from tests.chaos.commands import Command
from tests.chaos.ledger import END, Follower, Ledger
from tests.chaos.producer import Maker, Producer, mixed
from tests.chaos.sites import Site, open_site

__all__ = ["STALLED", "Kills", "Progress", "finish", "kill_at_random", "left_in", "recorded"]

LEASE = 2.0
KILLS_OF_A_COMMAND = 4
"""After so many kills of its workers a supervisor is killed too: the restarts of a new one are prompt."""
MAX_DELIVERIES = 50
STALLED = 120.0
"""Seconds without any progress after which what is left counts as lost or stuck."""


class Progress:
    """Follows a ledger and knows which calls have ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._follower = Follower(ledger.path)
        self.ended: set[str] = set()
        self.moved = time.monotonic()

    def count(self) -> int:
        """How many have ended until now."""
        before = len(self.ended)
        self.ended.update(e.id for e in self._follower.read() if e.kind == END and e.note != "retried")
        if len(self.ended) > before:
            self.moved = time.monotonic()
        return len(self.ended)


@dataclass
class Kills:
    """What is to be done.

    Parameters:
        slack: seconds by which a busy machine may miss the bounds for redeliveries.
    """

    broker: str
    pool: str
    kills: int
    tasks: int
    seed: int = 1
    slack: float = 0.0
    fused: bool = True


class Victims:
    """Two commands of two processes each, of which one is struck again and again."""

    def __init__(self, site: Site, plan: Kills) -> None:
        self._random = random.Random(plan.seed)
        self._children = plan.pool == "prefork"
        # Many deaths, and none that a task is to blame for: nothing may be given up as poison.
        settings = {"worker.lease": f"{LEASE}s", "worker.max_deliveries": str(MAX_DELIVERIES)}
        self.commands = [
            Command(site, plan.pool, processes=2, settings=settings, name=f"w{n}") for n in range(2)
        ]
        self._struck = [0, 0]
        self.count = {"worker": 0, "supervisor": 0, "child": 0}

    def strike(self) -> None:
        """Kill one, chosen at random, as soon as there is one."""
        deadline = time.monotonic() + STALLED
        while not self._strike():
            assert time.monotonic() < deadline, "there is no worker to be killed"
            time.sleep(0.02)

    def _strike(self) -> bool:
        number = self._random.randrange(2)
        command = self.commands[number]
        up = command.ready()
        if self._struck[number] >= KILLS_OF_A_COMMAND:
            self._struck[number] = 0
            command.kill_supervisor()
            command.restart()
            self.count["supervisor"] += 1
        elif self._children and self._random.random() < 0.4 and (child := self._child(up)):
            command.kill_child(*child)
            self.count["child"] += 1
        elif up:
            self._struck[number] += 1
            command.kill_worker(self._random.choice(up))
            self.count["worker"] += 1
        else:
            return False
        return True

    def _child(self, workers: list[int]) -> tuple[int, int] | None:
        for worker in self._random.sample(workers, len(workers)):
            try:
                children = psutil.Process(worker).children(recursive=True)
            except psutil.Error:
                continue
            if children:
                return worker, self._random.choice(children).pid
        return None

    def wait_ready(self) -> None:
        for command in self.commands:
            command.wait_ready()

    def close(self) -> None:
        for command in self.commands:
            command.close()


def kill_at_random(plan: Kills) -> Report:
    """Send the tasks, strike while they run, and compare the ledgers."""
    site = open_site(plan.broker, plan.fused)
    app = site.app()
    ledger = Ledger(site.ledger)
    progress = Progress(ledger)
    victims = Victims(site, plan)
    share = plan.tasks / plan.kills
    chance = random.Random(plan.seed + 1)
    try:
        victims.wait_ready()
        rounds = Rounds(app, ledger, plan, progress)
        for number in range(plan.kills):
            # As one death in a while, not as a machine on which nothing ever comes up.
            victims.wait_ready()
            rounds.begin(number)
            rounds.reach((number + chance.random()) * share)
            victims.strike()
        victims.wait_ready()
        rounds.end()
        report = finish(app, site, progress)
        report.bound(
            {
                "kill": 1.0 + plan.slack,
                "repeated": LEASE + 2.0 + plan.slack,
                "orphaned": LEASE + 2.0 + plan.slack,
            }
        )
        report.faults = sum(victims.count.values())
        for command in victims.commands:
            code, _ = command.stop(60.0)
            if code != 0:
                report.problems.append(f"a command ended with {code}")
        if report.lost and (held := left_in(app)):
            report.problems.append(f"of these were held by workers that never ran them: {held}")
        return report
    finally:
        victims.close()
        app.close()
        site.close()


class Rounds:
    """Lets the producer run ahead of the kills by a share of the tasks, so that each finds work under way."""

    def __init__(self, app: GreenQ, ledger: Ledger, plan: Kills, progress: Progress) -> None:
        self._share = plan.tasks / plan.kills
        self._allowed = 0.0
        self._progress = progress
        make: Maker = mixed(random.Random(plan.seed + 2))
        self._producer = Producer(app, ledger, plan.tasks, make, 0, self._ahead)
        self._producer.start()

    def _ahead(self) -> int:
        # The producer stops once it has sent more than this says has ended.
        return int(self._allowed)

    def begin(self, number: int) -> None:
        """Let the share of one more kill be sent."""
        self._allowed = (number + 1.5) * self._share

    def reach(self, count: float) -> None:
        """Wait until so many have ended, or nothing moves any more."""
        deadline = time.monotonic() + STALLED
        while self._progress.count() < count and time.monotonic() < deadline:
            time.sleep(0.005)

    def end(self) -> None:
        """Let all the rest be sent."""
        self._allowed = 1e18
        assert self._producer.finished.wait(600.0), "the producer does not come to its end"
        if self._producer.error is not None:
            raise self._producer.error


def finish(app: GreenQ, site: Site, progress: Progress, restarts: tuple[float, ...] = ()) -> Report:
    """Wait until all has ended and nothing is left in the broker, and compare the ledgers."""
    ledger = Ledger(site.ledger)
    sent = {entry.id for entry in ledger.entries() if entry.kind == "sent"}
    ended_otherwise: set[str] = set()
    progress.moved = time.monotonic()
    while progress.count() < len(sent) - len(ended_otherwise):
        missing = sent - progress.ended
        if len(missing) < 500:
            ended_otherwise = recorded(app, missing)
        if time.monotonic() - progress.moved > STALLED:
            break
        time.sleep(0.2)
    report = check(ledger.entries(), recorded(app, sent - progress.ended), restarts, site.copies)
    report.problems += left_in(app)
    return report


def recorded(app: GreenQ, ids: set[str]) -> set[str]:
    """Those whose end is a failure that was recorded without their help."""
    store = app.results
    assert store is not None
    found = store.get(list(ids), 30.0) if ids else {}
    return {id for id, result in found.items() if result.state == FAILURE}


def left_in(app: GreenQ) -> list[str]:
    """What the broker still has of the work, once it has had time to end."""
    deadline = time.monotonic() + 30.0
    while True:
        depth = app.broker.depth().get("celery", Depth())
        left = depth.ready + depth.delayed + depth.leased
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    problems = [f"stuck in the broker: {depth}"] if left else []
    if depth.dead:
        letters = app.broker.dead("celery", 3)
        problems.append(f"{depth.dead} dead letters, such as: {[letter.reason for letter in letters]}")
    return problems
