"""A broker that fails, a worker at work behind it, and the comparison of what was sent with what was done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from greenq.errors import GreenqError
from tests.chaos.fault_tasks import LEDGER
from tests.chaos.load import SENT_WITHIN, Load
from tests.chaos.stages import Stage
from tests.chaos.traces import Traces

__all__ = ["HEADING", "Report", "Scene"]

ROOT = Path(__file__).parents[2]
RESUMED_WITHIN = 10.0
"""Seconds from the broker's return until work goes on."""
QUIET_WITHIN = 90.0
"""Seconds until all is done that was sent."""
COUNTED = 6
"""How often, a second apart, what a worker has is counted."""
SLACK = 3.0
"""Seconds that a busy machine may add to a deadline."""


@dataclass
class Census:
    """What a worker has, at one moment."""

    connections: int
    descriptors: int
    threads: int
    memory: float
    green: int


@dataclass
class Report:
    """What came of some faults of one kind."""

    broker: str
    kind: str
    times: int = 0
    slowest: float = 0.0
    """Seconds until the first task started after the broker's return."""
    quietest: float = 0.0
    """Seconds until all was done."""
    sent: int = 0
    refused: int = 0
    longest_send: float = 0.0
    lost: int = 0
    twice: int = 0
    restarts: int = 0
    first: Census | None = None
    last: Census | None = None
    code: int | None = None
    problems: list[str] = field(default_factory=list)

    def growth(self) -> str:
        """How much the worker has grown from the first fault to the last."""
        if self.first is None or self.last is None:
            return "-"
        one, other = self.first, self.last
        return (
            f"{other.connections - one.connections:+d} {other.descriptors - one.descriptors:+d} "
            f"{other.threads - one.threads:+d} {other.green - one.green:+d} {other.memory - one.memory:+.1f}"
        )

    def line(self) -> str:
        """One row of the table."""
        return (
            f"{self.broker:8} {self.kind:9} {self.times:5} {self.slowest:7.1f} {self.quietest:7.1f} "
            f"{self.sent:7} {self.refused:7} {self.longest_send:6.1f} {self.lost:5} {self.twice:5} "
            f"{self.restarts:4} {self.growth():24} {self.code!s:5} {'; '.join(self.problems)}"
        )


HEADING = (
    f"{'broker':8} {'kind':9} {'times':>5} {'resume':>7} {'quiet':>7} {'sent':>7} {'unsent':>7} "
    f"{'send':>6} {'lost':>5} {'twice':>5} {'died':>4} {'growth: conn fd thr green MiB':24} {'exit':5}"
)


class Scene:
    """A broker, a worker of many green threads behind it, and a producer.

    Parameters:
        concurrency: of the worker.
        rate, longest: see `Load`.
        pause: seconds between the parts of a fault, at most.
        counted: how often, a second apart, what the worker has is counted.
    """

    def __init__(
        self, name: str, stage: Stage, concurrency: int = 1000, rate: int = 300, longest: float = 2.0,
        pool: str = "gevent",
        pause: float = 1.0,
        counted: int = COUNTED,
    ) -> None:  # fmt: skip
        self.name = name
        self.stage = stage
        self._late: set[int] = set()  # what was not done in time once: nobody waits for it again
        self._pause = pause
        self._counted = counted
        self.directory = Path(tempfile.mkdtemp(prefix="greenq-faults-"))
        self.log = self.directory / "worker.log"
        self.traces = Traces(self.directory / "ledger")
        self.load = Load(stage, rate, longest)
        self._asked = 0
        environment = os.environ | {
            LEDGER: str(self.directory / "ledger"),
            "GREENQ_BROKER_URL": stage.url,
            "GREENQ_RESULTS_URL": stage.results,
        }
        with self.log.open("wb") as log:
            self.command = subprocess.Popen(
                [
                    sys.executable, "-m", "greenq", "worker", "-A", "tests.chaos.fault_tasks:app",
                    "--pool", pool, "--concurrency", str(concurrency),
                ],
                cwd=ROOT, env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        self.load.on()
        self._wait(lambda: self._first_ran(), 60.0)
        self.load.off()
        self.worker = self._worker()
        stage.worker = self.worker

    def _first_ran(self) -> bool:
        assert self.command.poll() is None, self.log.read_text()
        return bool(self.traces.ended)

    def _worker(self) -> int:
        found = [child.pid for child in psutil.Process(self.command.pid).children()]
        return found[0] if found else 0

    def _wait(self, condition: Callable[[], object], patience: float) -> bool:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    # ── one fault ────────────────────────────────────────────────────────────────────────────────────────

    def fault(self, kind: str, hold: float, report: Report) -> None:
        """Let the broker fail for `hold` seconds and come back; see that work goes on and is finished."""
        inject, heal = self.stage.faults[kind]
        self.load.on()
        time.sleep(random.uniform(0.5, 1.0) * self._pause)
        if kind in self.stage.quiet | self.stage.drained:
            self.load.off()
        if kind in self.stage.drained:
            self._wait(self._done, QUIET_WITHIN)
        inject()
        time.sleep(hold)
        heal()
        returned = time.monotonic()
        self.traces.look_from(returned)
        self.load.on()
        self._wait(lambda: self.traces.first_start is not None, 60.0)
        time.sleep(0.5 * self._pause)
        self.load.off()
        slow = (self.traces.first_start or float("inf")) - returned
        report.slowest = max(report.slowest, slow)
        if slow > RESUMED_WITHIN:
            report.problems.append(f"{kind} #{report.times}: resumed after {slow:.1f} s")
        quiet = self._wait(self._done, QUIET_WITHIN)
        report.quietest = max(report.quietest, time.monotonic() - returned)
        if not quiet:
            late = self.load.confirmed - self.traces.ended - self._late
            self._late |= late
            report.problems.append(f"{kind} #{report.times}: {len(late)} not done, depth {self._depth()}")
        report.times += 1
        worker = self._worker()
        if worker != self.worker:
            report.restarts += 1
            self.worker = self.stage.worker = worker

    def _depth(self) -> str:
        try:
            return str(self.load.app.broker.depth().get("celery"))
        except GreenqError as error:
            return str(error)

    def _done(self) -> bool:
        if self.load.confirmed - self.traces.ended - self._late:
            return False
        try:
            depth = self.load.app.broker.depth().get("celery")
        except GreenqError:
            return False
        return depth is None or not (depth.ready or depth.leased)

    def census(self, pick: Callable[[list[int]], int]) -> Census:
        """Count what the worker has: for some seconds, as what was lost is had again when it is needed.

        Parameters:
            pick: which of several counts is meant, the largest or the smallest.
        """
        self._asked += 1
        number = self._asked
        for _ in range(5):
            try:
                self.load.app.send_task("tests.chaos.fault_tasks.count", (number,))
                break
            except GreenqError:
                continue
        self._wait(lambda: number in self.traces.green, 30.0)
        worker = psutil.Process(self.worker)
        counts: list[tuple[int, int, int]] = []
        for _ in range(self._counted):
            counts.append((self.stage.connections(), worker.num_fds(), worker.num_threads()))
            time.sleep(1.0)
        connections, descriptors, threads = (pick(list(column)) for column in zip(*counts, strict=True))
        memory, green = worker.memory_info().rss / 2**20, self.traces.green.get(number, -1)
        return Census(connections, descriptors, threads, memory, green)

    def faults(self, kind: str, times: int, hold: tuple[float, float]) -> Report:
        """Let it fail that often; what came of it."""
        return self.run(kind, [kind] * times, hold)

    def run(self, title: str, kinds: Sequence[str], hold: tuple[float, float]) -> Report:
        """Let it fail in these ways, one after the other; what came of it."""
        report = Report(self.name, title)
        refused, before, twice = self.load.refused, set(self.load.confirmed), self.traces.twice()
        self.load.longest_send = 0.0
        for turn, kind in enumerate(kinds):
            self.fault(kind, random.uniform(*hold), report)
            if turn == 0 and len(kinds) > 1:
                # The first fault may make what stays from then on.
                report.first = self.census(max)
        report.last = self.census(min)
        sent = self.load.confirmed - before
        report.sent, report.refused = len(sent), self.load.refused - refused
        report.lost = len(sent - self.traces.ended)
        report.twice = self.traces.twice() - twice
        report.longest_send = self.load.longest_send
        if report.lost:
            report.problems.append(f"{report.lost} lost")
        if report.longest_send > SENT_WITHIN + SLACK:
            report.problems.append(f"sending took {report.longest_send:.1f} s")
        self._judge_growth(report)
        return report

    def _judge_growth(self, report: Report) -> None:
        one, other = report.first, report.last
        if one is None or other is None or report.restarts:
            return
        # Two connections are made when a duty first needs them, seconds after the start.
        for name, more in (("connections", 2), ("descriptors", 5), ("threads", 2), ("green", 50)):
            if getattr(other, name) > getattr(one, name) + more:
                report.problems.append(f"{name} grew from {getattr(one, name)} to {getattr(other, name)}")

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> int | None:
        """Stop the worker as an operator does; its exit code, None if it had to be killed."""
        self.load.close()
        self.command.send_signal(signal.SIGTERM)
        try:
            return self.command.wait(60.0)
        except subprocess.TimeoutExpired:
            self.end()
            return None

    def end(self) -> None:
        """Let nothing of it live on."""
        self.load.close()
        if self.command.poll() is None:
            for process in [*psutil.Process(self.command.pid).children(recursive=True), self.command]:
                process.kill()
            self.command.wait()
