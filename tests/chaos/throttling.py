"""Kill workers that keep limits: none is exceeded, and nothing that a dead process held stays taken.

    python -m tests.chaos.throttling --broker redis --kills 200

Four worker processes run tasks with slots, a rate and unique keys, while processes that run some are killed
at random. The ledger says who ran when; a process that was killed ran nothing from then on. Prints a line,
and exits with 1 if more ran at once than there are slots, two of one key ran at once, the rate was exceeded,
or a task never ended or could not get what was taken by others that are over.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from greenq import AsyncResult, GreenQ
from greenq.errors import AlreadyQueued
from greenq.throttling.base import Ask, Limit
from tests.chaos.throttled_tasks import PER_SECOND, SLOTS
from tests.processes import lives, stop
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until

__all__ = ["Event", "Report", "judge", "main", "run", "servers"]

FEW, SELDOM, ONLY = (f"tests.chaos.throttled_tasks.{name}" for name in ("few", "seldom", "only"))
KEYS = 4
LATE = 2.0
"""Seconds that may lie between being let in and beginning, on a busy machine."""
PATIENCE = 120.0


@dataclass(frozen=True)
class Event:
    """A line of the ledger: what happened when (seconds), in which process, to which task of which key."""

    when: float
    pid: int
    what: str
    task: str = ""
    key: str = ""
    id: str = ""


@dataclass
class Report:
    """What was seen.

    Parameters:
        runs: how often tasks began.
        again: how many of them began again.
    """

    runs: int = 0
    again: int = 0
    kills: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.runs} runs, {self.again} of them again, {self.kills} kills: " + (
            "; ".join(self.problems) or "no limit was exceeded, and none stayed taken"
        )


def judge(events: list[Event]) -> Report:
    """Find what the ledger says against the limits."""
    report = Report(kills=sum(event.what == "kill" for event in events))
    running: dict[tuple[int, str, str], Event] = {}
    begun: Counter[str] = Counter()
    starts: list[float] = []
    for event in sorted(events, key=lambda event: event.when):
        mine = (event.pid, event.task, event.id)
        if event.what == "kill":
            running = {who: one for who, one in running.items() if one.pid != event.pid}
        elif event.what == "end":
            running.pop(mine, None)
        else:
            running[mine] = event
            begun[event.id] += 1
            starts += [event.when] if event.task == "seldom" else []
            beside = [one for one in running.values() if (one.task, one.key) == (event.task, event.key)]
            most = {"few": SLOTS, "only": 1}.get(event.task)
            if most is not None and len(beside) > most:
                report.problems.append(f"{len(beside)} of {event.task} {event.key} ran at {event.when:.3f}")
    report.runs, report.again = begun.total(), begun.total() - len(begun)
    if starts and (allowed := (max(starts) - min(starts) + LATE) * PER_SECOND + 1) < len(starts):
        report.problems.append(f"the rate let {len(starts)} begin where {allowed:.0f} may")
    return report


class Scene:
    """Four workers of one command, and who sends to them.

    Parameters:
        url: where messages are.
        results: where results and limits are.
    """

    def __init__(self, url: str, results: str, directory: Path) -> None:
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.log = directory / "log"
        limits = {"url": results}
        self.app = GreenQ("sender", broker=url, results=results, throttling=limits)
        self._kills: list[Event] = []
        env = {
            **os.environ, "LEDGER": str(self.ledger), "GREENQ_BROKER_URL": url, "GREENQ_RESULTS_URL": results,
            "GREENQ_THROTTLING_URL": results, "GREENQ_WORKER_LEASE": "10s",
            "GREENQ_WORKER_MAX_DELIVERIES": "1000",
        }  # fmt: skip
        with self.log.open("wb") as log:
            self.command = subprocess.Popen(
                [
                    sys.executable, "-m", "greenq", "worker", "-A", "tests.chaos.throttled_tasks",
                    "--processes", "4", "--pool", "threads", "-c", "4",
                ],
                env=env, stdout=log, stderr=log,
            )  # fmt: skip

    def events(self) -> list[Event]:
        """The ledger so far, and the kills."""
        events = list(self._kills)
        text = self.ledger.read_text()
        for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may be on its way
            when, pid, *rest = line.split()
            events.append(Event(float(when), int(pid), *rest))
        return events

    def kill_one(self) -> bool:
        """Kill a process that runs a task just now, if there is one."""
        begun: dict[tuple[int, str], Event] = {}
        for event in self.events():
            if event.what == "begin":
                begun[event.pid, event.id] = event
            elif event.what == "end":
                begun.pop((event.pid, event.id), None)
        gone = {kill.pid for kill in self._kills}
        alive = sorted({pid for pid, _ in begun if pid not in gone})
        if not alive:
            return False
        pid = random.choice(alive)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid), f"the end of {pid}", PATIENCE)
        self._kills.append(Event(time.monotonic(), pid, "kill"))
        return True

    def close(self) -> None:
        """End the command, and its workers with it."""
        self.app.close()
        stop(self.command, 60)


def run(url: str, results: str, kills: int, tasks: int) -> Report:
    """Send so many tasks of each kind, kill so many times meanwhile, and judge."""
    with tempfile.TemporaryDirectory(prefix="greenq-throttling-") as directory:
        scene = Scene(url, results, Path(directory))
        stopping = threading.Event()
        unique: list[AsyncResult] = []
        sender = threading.Thread(target=_keep_sending, args=(scene.app, unique, stopping))
        try:
            sender.start()
            results = [scene.app.send_task(FEW, (0.05,)) for _ in range(tasks)]
            results += [scene.app.send_task(SELDOM) for _ in range(tasks)]
            for _ in range(kills):
                until(scene.kill_one, "a process that runs a task", PATIENCE)
                if all(result.ready() for result in results):
                    results += [scene.app.send_task(FEW, (0.05,)) for _ in range(tasks)]
            stopping.set()
            sender.join()
            results += unique
            until(
                lambda: all(result.ready() for result in results),
                "the end of every task",
                PATIENCE + 5 * kills,
            )
            report = judge(scene.events())
            report.problems += _still_taken(scene.app)
        finally:
            stopping.set()
            sender.join()
            scene.close()
        return report


def _keep_sending(app: GreenQ, sent: list[AsyncResult], stopping: threading.Event) -> None:
    """Ask for each key again and again; it is sent where no other holds the key."""
    while not stopping.wait(0.02):
        with suppress(AlreadyQueued):
            key = str(random.randrange(KEYS))
            sent.append(app.send_task(ONLY, kwargs={"key": key, "seconds": 0.05}, unique="key"))


def _still_taken(app: GreenQ) -> list[str]:
    """What cannot be had although everybody is over."""
    store, problems = app.throttling.store, []
    limit = Limit(f"slots:{FEW}:", slots=SLOTS)
    asks = [Ask(f"probe{number}", "probe", 60.0, (limit,)) for number in range(SLOTS)]
    try:
        until(lambda: not any(store.admit(asks, 30.0)), "the slots are free", 30.0)
    except AssertionError as error:
        problems.append(str(error))

    def free(key: str) -> bool:
        try:
            app.send_task(ONLY, kwargs={"key": key, "seconds": 0.0}, unique="key", queue="nobody")
        except AlreadyQueued:
            return False
        return True

    for key in map(str, range(KEYS)):
        try:
            until(lambda key=key: free(key), f"key {key} is free", 30.0)
        except AssertionError as error:
            problems.append(str(error))
    return problems


def servers(broker: str, directory: Path) -> tuple[str, str]:
    """Where messages are, and where results and limits are."""
    if broker == "sqlite":
        return (f"sqlite:///{directory}/greenq.db",) * 2
    url = shared_redis().empty()
    return (shared_rabbit().empty() if broker == "rabbitmq" else url), url


def main() -> int:
    """Run it as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--broker", choices=("redis", "sqlite", "rabbitmq"), default="redis")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        report = run(*servers(args.broker, Path(directory)), args.kills, args.tasks)
    print(f"{args.broker}: {report}")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
