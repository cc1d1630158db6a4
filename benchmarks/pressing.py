"""Keep a worker busy: ``python -m benchmarks.pressing MODULE RATE`` sends so many calls a second for ever.

Runs in the peer's environment.
"""

from __future__ import annotations

import importlib
import sys
import time

PERIOD = 0.01
"""Seconds between one handful of calls and the next."""

if __name__ == "__main__":
    module, rate = sys.argv[1:]
    peer = importlib.import_module(module)
    sent, began = 0, time.monotonic()
    while True:
        due = int((time.monotonic() - began) * float(rate)) - sent
        if due > 0:
            peer.load("noop", due)
            sent += due
        time.sleep(PERIOD)
