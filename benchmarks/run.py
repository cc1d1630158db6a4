"""One run: every peer on every workload, in turns, several rounds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, servers
from benchmarks.environments import python_of, versions
from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.workloads import Figures, Workload
from tests.rabbit import RabbitServer

__all__ = ["BASELINE", "run"]

BASELINE = "Celery gevent, Redis"
CALM = 0.2
"""Cores at work beside ours, above which the machine counts as loaded."""


def run(
    peers: Sequence[Peer],
    workloads: Sequence[Workload],
    count: int,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure, taking turns: drift of the machine hits all alike.

    Parameters:
        count: tasks of each measurement.
        say: told what is going on, a line at a time.

    Returns:
        Plain data, for JSON and `report.table`.

    Raises:
        Failed: a peer could not be installed or measured.
    """
    pythons = {peer.name: python_of(peer) for peer in peers}
    found: list[dict[str, Any]] = []
    load: list[float] = []
    began = datetime.now(UTC)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        redis = stack.enter_context(servers.redis(home)) if any(peer.redis for peer in peers) else None
        rabbit = stack.enter_context(servers.rabbit()) if any(peer.rabbit for peer in peers) else None
        for workload in workloads:
            suited = [peer for peer in peers if workload.suits(peer)]
            taken: dict[str, list[Figures]] = {peer.name: [] for peer in suited}
            for number in range(1, rounds + 1):
                for peer in suited:
                    load.append(machine.busy())
                    with _place(peer, pythons[peer.name], redis, rabbit, home) as place:
                        figures = workload.measure(peer, place, count)
                    taken[peer.name].append(figures)
                    say(f"{workload.name}, round {number}/{rounds}, {peer.name}: {told(workload, figures)}")
            found.append(
                {
                    "name": workload.name,
                    "title": workload.title,
                    "compared": workload.compared,
                    "higher": workload.higher,
                    "columns": [vars(column) for column in workload.columns],
                    "ideal": workload.ideal,
                    "rounds": taken,
                }
            )
    return {
        "began": began.isoformat(timespec="seconds"),
        "machine": machine.facts(),
        "busy": {"highest": max(load), "mean": sum(load) / len(load), "calm": max(load) <= CALM},
        "baseline": BASELINE,
        "count": count,
        "rounds": rounds,
        "versions": {peer.name: versions(pythons[peer.name]) for peer in peers},
        "workloads": found,
    }


def told(workload: Workload, figures: Figures) -> str:
    """What one measurement gave, for people who wait."""
    shown = workload.columns[0]
    return f"{figures[shown.figure]:,.{shown.digits}f} {shown.title}"


@contextmanager
def _place(
    peer: Peer, python: Path, redis: str | None, rabbit: RabbitServer | None, home: Path
) -> Iterator[Place]:
    """Prepare an empty directory and empty servers for one measurement."""
    if peer.redis and redis is not None:
        servers.flush(redis)
    host = rabbit.empty() if peer.rabbit and rabbit is not None else None
    with tempfile.TemporaryDirectory(dir=home) as directory:
        yield Place(Path(directory), python, redis if peer.redis else None, host)
