"""What a worker runs while its broker fails: each run leaves its traces in a file outside every broker."""

from __future__ import annotations

import gc
import os
import threading
import time

from greenq import GreenQ

app = GreenQ("faults")
LEDGER = "CHAOS_LEDGER"
"""Names the variable that says where the traces go."""


def note(text: str) -> None:
    """Append a line in one write, with when and by whom."""
    fd = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{text} {time.monotonic()} {os.getpid()}\n".encode())
    finally:
        os.close(fd)


@app.task
def work(number: int, seconds: float) -> int:
    """Take some time."""
    note(f"start {number}")
    time.sleep(seconds)
    note(f"end {number}")
    return number


@app.task
def count(number: int) -> None:
    """Tell how many green threads there are, and how many real ones."""
    kind = "Greenlet" if "gevent.hub" in map(type_module, gc.get_objects()) else "GreenThread"
    green = sum(type(one).__name__ == kind for one in gc.get_objects())
    note(f"green {number} {green} {threading.active_count()}")


def type_module(value: object) -> str:
    """Where a value's type comes from."""
    return type(value).__module__
