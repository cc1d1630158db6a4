"""What a program of the peer's own finds out: ``python -m benchmarks.asking MODULE QUESTION COUNT``.

Runs in the peer's environment, and prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

WARM = 50
"""Round trips that are not counted: connections are made, caches filled."""
LONGEST = 10.0
"""Seconds that may be spent on round trips: some systems look for work twice a second only."""


def round_trips(peer: Any, count: int) -> list[float]:
    """Seconds from sending a call to having its result, one after the other."""
    with peer.asking() as ask:
        _timed(ask, WARM, LONGEST / 10)
        return _timed(ask, count, LONGEST)


def sends(peer: Any, count: int) -> dict[str, float]:
    """Calls per second sent one by one, and the processor time (µs) of each."""
    return _sent(peer.send_each, count)


def bulk(peer: Any, count: int) -> dict[str, float]:
    """Calls per second sent together, and the processor time (µs) of each."""
    return _sent(peer.send_bulk, count)


def chords(peer: Any, count: int) -> list[float]:
    """Seconds from sending a chord of so many tasks to having the result of its body, several times."""
    peer.chord(2)
    return _timed(lambda: peer.chord(count), max(1, 100 // count), LONGEST)


def _timed(act: Callable[[], object], count: int, longest: float) -> list[float]:
    found: list[float] = []
    until = perf_counter() + longest
    while len(found) < count and (began := perf_counter()) < until:
        act()
        found.append(perf_counter() - began)
    return found


def _sent(send: Callable[[int], object], count: int) -> dict[str, float]:
    send(WARM)
    began, used = perf_counter(), process_time()
    send(count)
    return {"rate": count / (perf_counter() - began), "cpu": (process_time() - used) / count * 1e6}


if __name__ == "__main__":
    module, question, number = sys.argv[1:]
    print(json.dumps(globals()[question](importlib.import_module(module), int(number))))
