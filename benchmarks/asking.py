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
"""Seconds that may be spent on round trips and on sending one by one: some systems look for work twice a
second only, some confirmations take milliseconds."""
PORTION = 200
"""Calls that are sent one by one before the clock is looked at."""


def round_trips(peer: Any, count: int) -> list[float]:
    """Seconds from sending a call to having its result, one after the other."""
    with peer.asking() as ask:
        _timed(ask, WARM, LONGEST / 10)
        return _timed(ask, count, LONGEST)


def sends(peer: Any, count: int) -> dict[str, float]:
    """Calls per second sent one by one, the processor time (µs) of each, and how many there were."""
    return _sent(peer.send_each, count, PORTION)


def bulk(peer: Any, count: int) -> dict[str, float]:
    """Calls per second sent together, the processor time (µs) of each, and how many there were."""
    return _sent(peer.send_bulk, count, count)


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


def _sent(send: Callable[[int], object], count: int, portion: int) -> dict[str, float]:
    send(WARM)
    began, used = perf_counter(), process_time()
    sent = 0
    while sent < count and perf_counter() < began + LONGEST:
        send(portion)
        sent += portion
    return {
        "rate": sent / (perf_counter() - began),
        "cpu": (process_time() - used) / sent * 1e6,
        "tasks": sent,
    }


if __name__ == "__main__":
    module, question, number = sys.argv[1:]
    print(json.dumps(globals()[question](importlib.import_module(module), int(number))))
