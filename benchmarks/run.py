"""One run: every peer on every workload, in turns, several rounds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, servers
from benchmarks.environments import python_of, versions
from benchmarks.peers import Peer
from benchmarks.place import Place
from benchmarks.workloads import Figures, Workload

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
        needs_redis = any(peer.redis for peer in peers)
        url = stack.enter_context(servers.redis(home)) if needs_redis else None
        for workload in workloads:
            taken: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
            for number in range(1, rounds + 1):
                for peer in peers:
                    load.append(machine.busy())
                    figures = _once(peer, workload, pythons[peer.name], url, count, home)
                    taken[peer.name].append(figures)
                    say(f"{workload.name}, round {number}/{rounds}, {peer.name}: {figures['rate']:,.0f}/s")
            found.append(
                {
                    "name": workload.name,
                    "title": workload.title,
                    "unit": workload.unit,
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


def _once(peer: Peer, workload: Workload, python: Path, url: str | None, count: int, home: Path) -> Figures:
    with tempfile.TemporaryDirectory(dir=home) as directory:
        if peer.redis and url is not None:
            servers.flush(url)
        return workload.measure(peer, Place(Path(directory), python, url if peer.redis else None), count)
