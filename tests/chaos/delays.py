"""Park a million tasks under one worker: its memory stays, and those whose time comes run then.

    python -m tests.chaos.delays --broker redis --tasks 1000000

Half of the tasks are sent as greenq sends them, half as Celery does: into the queue, with an ``eta``. Nearly
all are due in hours or weeks, a few soon: some while the others are still being parked, behind which they
wait in their queue, and some once all are. Prints a table; exits with 1 if the worker grew by 5 MiB, a task
ran early, twice or never, or one of the latter later than a second (RabbitMQ: two) after its time.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenq import GreenQ
from greenq.message import Depth, Message
from tests.processes import stop
from tests.rabbit import RabbitServer, shared_rabbit
from tests.servers import RedisServer, shared_redis

__all__ = ["BROKERS", "Report", "main", "park"]

BROKERS = ("redis", "sqlite", "amqp")
GROWTH = 5.0
"""MiB."""
LATE = {"redis": 1.0, "sqlite": 1.0, "amqp": 2.0}
"""Seconds."""
BATCH = 1000
SHORT = 10_000
"""Tasks up to which it is the short form: less time, and no server of its own."""
WARM = 20_000
"""Tasks that are parked before the worker's memory is first looked at, at most."""
BACKLOG = 1_000
"""Messages in the queue at which the sender waits for the worker."""
ACK_TIMEOUT = 10_000
"""Milliseconds of RabbitMQ's ``consumer_timeout``; it looks once a minute."""
PATIENCE = 300.0


@dataclass
class Report:
    """What was measured.

    Parameters:
        seconds: that parking took.
        before, most, after: the worker's memory in MiB.
        meanwhile, offs: how many seconds after their time tasks ran: those that were due while others were
            being parked, which queue behind them, and those that were due once all were.
    """

    broker: str
    tasks: int
    seconds: float = 0.0
    before: float = 0.0
    most: float = 0.0
    after: float = 0.0
    meanwhile: list[float] = field(default_factory=list)
    offs: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """MiB that the worker grew at most."""
        return self.most - self.before

    def table(self) -> str:
        """All of it, for people."""
        rows = {
            "tasks parked": f"{self.tasks:,} in {self.seconds:.0f} s",
            "memory": f"{self.before:.1f} MiB before, {self.most:.1f} at most, {self.after:.1f} after",
            "growth": f"{self.growth:.1f} MiB",
            "due meanwhile": self._spread(self.meanwhile),
            "due after": self._spread(self.offs),
            "problems": "; ".join(self.problems) or "none",
        }
        return "\n".join(f"{self.broker:7} {name:13} {value}" for name, value in rows.items())

    def _spread(self, offs: list[float]) -> str:
        """How long after their time tasks ran."""
        if not offs:
            return "none"
        first, *_, last = found = sorted([*offs, *offs])
        late = sum(off > LATE[self.broker] for off in offs)
        middle = found[len(offs)]
        return (
            f"{len(offs)}: earliest {first * 1000:+.0f} ms, median {middle * 1000:+.0f} ms, "
            f"latest {last * 1000:+.0f} ms, {late} late"
        )


# ── server and worker ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(broker: str, folder: Path, short: bool) -> Iterator[tuple[str, RabbitServer | None]]:
    """A server of its own; in the short form the one that all tests share."""
    if short and broker != "sqlite":
        yield (shared_redis() if broker == "redis" else shared_rabbit()).empty(), None
    elif broker == "redis":
        redis = RedisServer()
        try:
            yield redis.empty(), None
        finally:
            redis.stop()
    elif broker == "amqp":
        rabbit = RabbitServer(f"consumer_timeout = {ACK_TIMEOUT}")
        try:
            yield rabbit.url, rabbit
        finally:
            rabbit.stop()
    else:
        yield f"sqlite:///{folder}/greenq.db", None


@contextmanager
def working(url: str, ledger: Path, pool: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker command."""
    environment = {**os.environ, "GREENQ_BROKER_URL": url, "DELAYED_LEDGER": str(ledger)}
    environment |= {"GREENQ_RESULTS_URL": "null", "GREENQ_CONFIG": os.devnull}
    command = [sys.executable, "-m", "greenq", "worker", "-A", "tests.chaos.delayed", "-P", pool, "-c", "100"]
    with (ledger.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        stop(process, 60)


def memory(pid: int) -> float:
    """MiB that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


# ── sending ──────────────────────────────────────────────────────────────────────────────────────────────


class Sender:
    """Sends tasks for later, and knows which are due while somebody looks.

    Parameters:
        ledger: where the tasks note that they ran.
    """

    def __init__(self, url: str, ledger: Path) -> None:
        self.app = GreenQ("sender", broker=url, results=None)
        self.soon = 0
        self._url = url
        self._ledger = ledger
        self._random = random.Random(1)

    def far(self, count: int) -> None:
        """Tasks that are due in hours or weeks."""
        now = time.time()
        self._send([(-1, now + self._random.uniform(3600, 30 * 86400)) for _ in range(count)])

    def near(self, count: int, first: float, last: float) -> None:
        """Tasks that are due in so many seconds."""
        now = time.time()
        calls = []
        for _ in range(count):
            calls.append((self.soon, now + self._random.uniform(first, last)))
            self.soon += 1
        self._send(calls)

    def _send(self, calls: list[tuple[int, float]]) -> None:
        messages = [self._message(number, due) for number, due in calls]
        for message in messages[::2]:
            message.due = None  # as Celery sends it: whoever fetches it finds the header
        problems = [error for error in self.app.broker.publish(messages, 60.0) if error is not None]
        assert not problems, problems[0]

    def _message(self, number: int, due: float) -> Message:
        options: Any = {"eta": datetime.fromtimestamp(due, UTC), "ignore_result": True}
        return self.app.composer.compose("delayed.mark", (number, due), {}, options, None)

    def celerys(self, count: int, first: float, last: float) -> None:
        """The same as `near`, by Celery's own producer."""
        from celery import Celery  # type: ignore[import-untyped]

        celery: Any = Celery("sender", broker=self._url.replace("127.0.0.1", "localhost"))
        now = time.time()
        for _ in range(count):
            due = now + self._random.uniform(first, last)
            eta = datetime.fromtimestamp(due, UTC)
            celery.send_task("delayed.mark", (self.soon, due), eta=eta, ignore_result=True)
            self.soon += 1
        celery.close()

    def depth(self) -> Depth:
        """What lies in the queue."""
        return self.app.broker.depth().get("celery", Depth())

    def settled(self, most: int) -> None:
        """Wait until no more than `most` messages lie in the queue or with the worker."""
        deadline = time.monotonic() + PATIENCE
        while True:
            depth = self.depth()
            if depth.ready + depth.leased <= most:
                return
            assert time.monotonic() < deadline, f"the worker does not get on: {depth}"
            time.sleep(0.1)

    def ran(self) -> list[tuple[int, float, float, int]]:
        """What the ledger has of tasks that were due: number, due, run, process."""
        if not self._ledger.exists():
            return []
        rows = [line.split() for line in self._ledger.read_text().splitlines()]
        return [(int(number), float(due), float(run), int(pid)) for number, due, run, pid in rows]

    def all_ran(self) -> list[tuple[int, float, float, int]]:
        """The same, once all are there, or none has come for long."""
        deadline = time.monotonic() + PATIENCE
        while len(rows := self.ran()) < self.soon and time.monotonic() < deadline:
            time.sleep(0.1)
        return rows


# ── the whole ────────────────────────────────────────────────────────────────────────────────────────────


def park(broker: str, tasks: int, pool: str, folder: Path) -> Report:
    """Park so many tasks under a worker and look at both."""
    report = Report(broker, tasks)
    ledger = folder / "ledger"
    short = tasks <= SHORT
    soon = (1.0, 4.0) if short else (3.0, 15.0)
    with serving(broker, folder, short) as (url, rabbit):
        sender = Sender(url, ledger)
        with working(url, ledger, pool):
            sender.near(200, -1.0, 0.5)
            pid = sender.all_ran()[0][3]
            warm = min(WARM, tasks // 2)
            for sent in range(0, warm, BATCH):
                sender.far(min(BATCH, warm - sent))
            sender.settled(0)
            time.sleep(1.0)
            known = sender.soon
            report.before = report.most = memory(pid)
            _flood(sender, report, pid, tasks - warm, soon)
            parked = sender.soon
            sender.near(300, *soon)
            if broker != "sqlite":
                sender.celerys(100, *soon)
            if rabbit is not None:
                # Beyond the server's patience with whoever holds a message: it looks once a minute.
                sender.celerys(50, ACK_TIMEOUT / 1000 + 60, ACK_TIMEOUT / 1000 + 80)
            rows = sender.all_ran()
            report.after = memory(pid)
            report.most = max(report.most, report.after)
            _judge(report, sender, rows, (known, parked), pid)
        sender.app.close()
        if rabbit is not None:
            said = "".join(file.read_text() for file in (rabbit.directory / "log").glob("*.log"))
            if "timed out" in said:
                report.problems.append("RabbitMQ lost patience with a delivery")
    return report


def _flood(sender: Sender, report: Report, pid: int, tasks: int, soon: tuple[float, float]) -> None:
    begun = time.monotonic()
    for sent in range(0, tasks, BATCH):
        sender.far(min(BATCH, tasks - sent))
        sender.near(1, *soon)
        report.most = max(report.most, memory(pid))
        if sent // BATCH % 2:
            sender.settled(BACKLOG)
    sender.settled(0)
    report.most = max(report.most, memory(pid))
    report.seconds = time.monotonic() - begun


def _judge(
    report: Report,
    sender: Sender,
    rows: list[tuple[int, float, float, int]],
    firsts: tuple[int, int],
    pid: int,
) -> None:
    counts: dict[int, int] = {}
    for number, due, run, where in rows:
        counts[number] = counts.get(number, 0) + 1
        if number >= firsts[0]:
            (report.meanwhile if number < firsts[1] else report.offs).append(run - due)
        if where != pid:
            report.problems.append(f"task {number} ran in another process")
        if number < 0:
            report.problems.append(f"a task ran {due - run:.0f} s early")
    missing = sender.soon - len(counts)
    if missing:
        report.problems.append(f"{missing} did not run")
    twice = sum(count > 1 for number, count in counts.items())
    if twice:
        report.problems.append(f"{twice} ran more than once")
    if min([0.0, *report.meanwhile, *report.offs]) < 0:
        report.problems.append("some ran early")
    depth = sender.depth()
    if depth.delayed != report.tasks or depth.ready or depth.leased or depth.dead:
        report.problems.append(f"not all are parked: {depth}")


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="tests.chaos.delays", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, action="append")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--pool", default="gevent")
    given = parser.parse_args(arguments)
    well = True
    for broker in given.broker or BROKERS:
        with tempfile.TemporaryDirectory(prefix="greenq-delays-") as folder:
            report = park(broker, given.tasks, given.pool, Path(folder))
        print(report.table(), flush=True)
        late = any(off > LATE[broker] for off in report.offs)
        well = well and not report.problems and not late and report.growth < GROWTH
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
