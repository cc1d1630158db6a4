"""How long a large chord's body waits for its start: ``python -m benchmarks.chords --members 10000``.

A Redis server of its own, one worker process (gevent, 100 slots). Each member returns when it ended, so the
body knows when the last one did. Prints, for each of some chords, milliseconds from there to the body's first
line, and how the worker's memory grew.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.servers import redis
from greenq import GreenQ, chord

__all__ = ["app", "main"]

app = GreenQ("chords")
PATIENCE = 600.0


@app.task(name="chords.member")
def member(number: int) -> float:
    """Return when it ended; the clock is one for all processes."""
    return time.monotonic()


@app.task(name="chords.body")
def body(ends: list[float]) -> dict[str, Any]:
    """Tell how long ago the last member ended, and how large this process is."""
    now = time.monotonic()
    memory = psutil.Process().memory_info().rss
    return {"waited": now - max(ends), "members": len(ends), "memory": memory}


def measure(url: str, members: int) -> dict[str, Any]:
    """Run one chord."""
    own = GreenQ("chords", broker=url, results=url)
    try:
        header = [own.signature("chords.member", (number,)) for number in range(members)]
        found: dict[str, Any] = (
            chord(header, own.signature("chords.body")).apply_async().get(timeout=PATIENCE)
        )
    finally:
        own.close()
    return found


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--chords", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, redis(Path(directory)) as url:
        worker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "greenq",
                "worker",
                "-A",
                "benchmarks.chords",
                "-P",
                "gevent",
                "-c",
                "100",
            ],
            env={**os.environ, "GREENQ_BROKER_URL": url, "GREENQ_RESULTS_URL": url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            before = measure(url, 1)["memory"]
            found = [measure(url, args.members) for _ in range(args.chords)]
        finally:
            worker.terminate()
            worker.wait()
    waited = sorted(1000 * one["waited"] for one in found)
    grown = (max(one["memory"] for one in found) - before) / 1e6
    print(
        f"{args.members} members: the body began {waited[0]:.0f} to {waited[-1]:.0f} ms after the last one's "
        f"end, median {statistics.median(waited):.0f} ms; the worker grew by {grown:.0f} MB"
    )


if __name__ == "__main__":
    main()
