"""What a program of the peer's own finds out: ``python -m benchmarks.asking MODULE QUESTION COUNT``.

Runs in the peer's environment, and prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from time import perf_counter, process_time
from typing import Any

WARM = 50
"""Round trips that are not counted: connections are made, caches filled."""


def round_trips(peer: Any, count: int) -> list[float]:
    """Seconds from sending a call to having its result, one after the other."""
    with peer.asking() as ask:
        for _ in range(WARM):
            ask()
        found = []
        for _ in range(count):
            began = perf_counter()
            ask()
            found.append(perf_counter() - began)
    return found


def sends(peer: Any, count: int) -> dict[str, float]:
    """Calls per second sent one by one, and the processor time (µs) of each."""
    peer.send_each(WARM)
    began, used = perf_counter(), process_time()
    peer.send_each(count)
    return {"rate": count / (perf_counter() - began), "cpu": (process_time() - used) / count * 1e6}


if __name__ == "__main__":
    module, question, count = sys.argv[1:]
    print(json.dumps(globals()[question](importlib.import_module(module), int(count))))
