"""Where tasks write down when they ran: the same few instructions in every peer.

Each process has a file of its own, mapped into memory, so that a tick costs an assignment; whoever measures
reads the files. The first number is the processor time at the first tick, the others are the ticks.
This module runs in the peers' environments: it needs the standard library only.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from itertools import count as counting
from pathlib import Path
from time import monotonic, process_time
from typing import Any

__all__ = ["DIRECTORY", "SLOTS", "count", "read", "spent_before", "tick"]

DIRECTORY = "BENCHMARKS_LEDGER"
"""Environment variable: the directory of the files."""
SLOTS = "BENCHMARKS_SLOTS"
"""Environment variable: how many ticks a file has room for."""

_slots: Any = None
_next: Callable[[], int] = counting(1).__next__


def _open() -> Any:
    global _slots, _next
    size = int(os.environ[SLOTS]) * 8 + 8
    path = os.path.join(os.environ[DIRECTORY], str(os.getpid()))
    with open(path, "w+b") as file:
        file.truncate(size)
        _slots = memoryview(mmap.mmap(file.fileno(), size)).cast("d")
    _slots[0] = process_time()
    _next = counting(1).__next__
    return _slots


def tick() -> None:
    """Write down the time (seconds of the clock that all processes of a machine share)."""
    slots = _slots
    if slots is None:
        slots = _open()
    slots[_next()] = monotonic()


def _forget() -> None:
    global _slots
    _slots = None


# A child that was forked has its parent's file until then.
os.register_at_fork(after_in_child=_forget)


def read(directory: Path) -> list[float]:
    """Give every tick of every process, sorted."""
    ticks: list[float] = []
    for path in directory.iterdir():
        data = path.read_bytes()[8:]
        ticks += [tick for (tick,) in struct.iter_unpack("d", data) if tick]
    return sorted(ticks)


def count(directory: Path) -> int:
    """Tell how many ticks there are, in a few reads: each process fills its file from the front."""
    return sum(_filled(path) for path in directory.iterdir())


def _filled(path: Path) -> int:
    with path.open("rb") as file:
        low, high = 0, max(0, os.fstat(file.fileno()).st_size // 8 - 1)
        while low < high:
            middle = (low + high + 1) // 2
            if any(os.pread(file.fileno(), 8, middle * 8)):
                low = middle
            else:
                high = middle - 1
    return low


def spent_before(directory: Path) -> dict[int, float]:
    """Give the processor time (s) that each process had used before its first tick, by process id."""
    return {int(path.name): struct.unpack("d", path.read_bytes()[:8])[0] for path in directory.iterdir()}
