"""One run: every peer on every workload, in turns, several rounds."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, servers
from benchmarks.environments import python_of, versions
from benchmarks.peers import Peer
from benchmarks.place import ROOT, Failed, Place
from benchmarks.workloads import Figures, Workload
from tests.rabbit import RabbitServer

__all__ = ["BASELINE", "run"]

BASELINE = "Celery gevent, Redis"
CALM = 0.2
"""Cores at work beside ours on average, above which the machine counts as loaded."""


def run(
    peers: Sequence[Peer],
    workloads: Sequence[Workload],
    count: int,
    rounds: int,
    say: Callable[[str], None],
    *,
    minutes: float | None = None,
    keep: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Measure, taking turns: drift of the machine hits all alike.

    A peer that fails is left out of that measurement, and told under ``failed``.

    Parameters:
        count: tasks of each measurement; workloads and peers may take more or fewer.
        rounds: how often each workload is measured.
        say: told what is going on, a line at a time.
        minutes: nothing is begun any more after so long.
        keep: given what there is after each workload.

    Returns:
        Plain data, for JSON and `report.table`.

    Raises:
        Failed: a peer could not be installed, or a server does not start.
    """
    pythons = {peer.name: python_of(peer) for peer in peers}
    until = time.monotonic() + minutes * 60 if minutes else float("inf")
    found: dict[str, Any] = {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine.facts(),
        "busy": _busy([]),
        "baseline": BASELINE,
        "count": count,
        "rounds": rounds,
        "versions": _versions(pythons),
        "limits": {},
        "failed": [],
        "workloads": [_described(workload, peers) for workload in workloads],
    }
    load: list[float] = []
    with _servers(peers, pythons) as house:
        turns = _Turns(house, found, load, count, rounds, until, say)
        for number in range(1, rounds + 1):
            for workload, described in zip(workloads, found["workloads"], strict=True):
                turns.take(number, workload, described, [peer for peer in peers if workload.takes(peer)])
                found["busy"] = _busy(load)
                if keep:
                    keep(found)
    return found


def _versions(pythons: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Ask each environment once: several peers share one."""
    known = {python: versions(python) for python in set(pythons.values())}
    return {name: known[python] for name, python in pythons.items()}


def _busy(load: Sequence[float]) -> dict[str, Any]:
    """Tell how many cores were at work while nothing of ours was."""
    mean = sum(load) / max(1, len(load))
    return {"highest": max(load, default=0.0), "mean": mean, "calm": mean <= CALM}


def _described(workload: Workload, peers: Sequence[Peer]) -> dict[str, Any]:
    return {
        "name": workload.name,
        "title": workload.title,
        "compared": workload.compared,
        "higher": workload.higher,
        "columns": [vars(column) for column in workload.columns],
        "ideal": workload.ideal,
        "rounds": {peer.name: [] for peer in peers if workload.takes(peer)},
    }


def _told(workload: Workload, figures: Figures) -> str:
    """What one measurement gave, for people who wait."""
    shown = [column for column in workload.columns if column.figure in figures]
    return ", ".join(f"{figures[one.figure]:,.{one.digits}f} {one.title}" for one in shown)


def _commit() -> str:
    """Name the version of the sources, with a plus if they were changed since; empty where nobody knows."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


@dataclass(frozen=True)
class _House:
    """The servers of a run, and where its measurements put their files."""

    home: Path
    pythons: dict[str, Path]
    redis: str | None
    rabbit: RabbitServer | None
    used: list[str] = field(default_factory=list)

    def measure(self, workload: Workload, peer: Peer, count: int) -> Figures:
        """Measure once, in an empty directory and with empty servers."""
        if peer.redis and self.redis is not None:
            servers.flush(self.redis)
        host = None
        if peer.rabbit and self.rabbit is not None:
            host = self.rabbit.empty()
            self.used.append(host)
        with tempfile.TemporaryDirectory(dir=self.home, ignore_cleanup_errors=True) as directory:
            redis = self.redis if peer.redis else None
            place = Place(Path(directory), self.pythons[peer.name], redis, host)
            return workload.measure(peer, place, workload.tasks(peer, count))

    def tidy(self) -> None:
        """Remove what measurements have left with RabbitMQ."""
        if self.used and self.rabbit is not None:
            servers.forget(self.rabbit, self.used)
            self.used.clear()


@dataclass(frozen=True)
class _Turns:
    """What each turn of the peers at a workload adds to what a run has found."""

    house: _House
    found: dict[str, Any]
    load: list[float]
    count: int
    rounds: int
    until: float
    say: Callable[[str], None]

    def take(self, number: int, workload: Workload, described: dict[str, Any], peers: Sequence[Peer]) -> None:
        """Measure one workload, each peer once, while there is time."""
        if number == 1 and time.monotonic() < self.until:
            self.found["limits"] |= workload.limits()
        for peer in peers:
            if time.monotonic() > self.until:
                break
            self.load.append(busy := machine.busy())
            what = f"{workload.name}, round {number}/{self.rounds}, {peer.name}"
            try:
                figures = self.house.measure(workload, peer, self.count)
            except Failed as failed:
                self.found["failed"].append({"what": what, "why": str(failed)})
                self.say(f"{what}: failed: {failed}")
                continue
            described["rounds"][peer.name].append({"round": number, "busy": busy, **figures})
            self.say(f"{what}: {_told(workload, figures)}")
        try:
            self.house.tidy()
        except Failed as failed:
            self.say(f"{workload.name}: {failed}")


@contextmanager
def _servers(peers: Sequence[Peer], pythons: dict[str, Path]) -> Iterator[_House]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        redis = stack.enter_context(servers.redis(home)) if any(peer.redis for peer in peers) else None
        rabbit = stack.enter_context(servers.rabbit()) if any(peer.rabbit for peer in peers) else None
        yield _House(home, pythons, redis, rabbit)
