"""One call at a time, on an idle worker and on a busy one: from sending it to having its result."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks.drain import drain
from benchmarks.peers import Peer
from benchmarks.place import Job, Place
from benchmarks.serving import answer_of, ask
from benchmarks.working import working
from benchmarks.workloads import Column, Figures, Workload

__all__ = ["WORKLOADS"]

MOST = 2000
"""Calls: enough for a 99th percentile."""
PERCENTILES = (50, 90, 99)
WAITED = Column("p50", "p50", 2), Column("p99", "p99", 2)
SLOTS = 4_000_000
"""Ticks for which there is room while a worker is kept busy."""


@dataclass(frozen=True)
class RoundTrip(Workload):
    """What a user waits for who calls a task that does nothing."""

    def suits(self, peer: Peer) -> bool:
        """Whether the peer's module says how to ask."""
        return peer.stores and peer.asks

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        return _percentiles(ask(peer, place, "round_trips", Job(task="noop", count=count, results=True)))


@dataclass(frozen=True)
class HalfLoad(RoundTrip):
    """The same, while others send half of what the worker has just shown that it can do."""

    def measure(self, peer: Peer, place: Place, count: int) -> Figures:
        """Measure once; see `Workload`."""
        job = Job(task="noop", count=count, results=True)
        before = replace(place, directory=place.directory / "before")
        before.directory.mkdir()
        rate = drain(peer, before, job)["rate"] / 2
        environ = place.environ(peer, job, SLOTS)
        asked = replace(job, count=min(count, MOST))
        with working(peer, place, job, environ, drained=False) as worker:
            place.load(peer, replace(job, count=1))
            worker.wait_for(1)
            with _pressed(peer, place, rate, environ):
                found = answer_of(peer, place, "round_trips", asked, environ)
        return {**_percentiles(found), "pressed": rate}


@contextmanager
def _pressed(peer: Peer, place: Place, rate: float, environ: Mapping[str, str]) -> Iterator[None]:
    command = [str(place.python), "-m", "benchmarks.pressing", type(peer).__module__, str(rate)]
    with (place.directory / "pressing.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=place.directory, env=dict(environ), stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def _percentiles(seconds: list[float]) -> Figures:
    """Give milliseconds."""
    found = sorted(seconds)
    return {f"p{p}": found[int(len(found) * p / 100)] * 1000 for p in PERCENTILES} | {"tasks": len(found)}


WORKLOADS = (
    RoundTrip(
        "round-trip", "round trip on an idle worker, -c 1000, ms",
        compared="p50", higher=False, columns=WAITED, most=MOST,
    ),
    HalfLoad(
        "half-load", "round trip at half load, -c 1000, ms",
        compared="p99", higher=False, columns=(*WAITED, Column("load per second", "pressed")),
    ),
)  # fmt: skip
