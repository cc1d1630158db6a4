"""Tasks with limits; each notes its begin and its end, by the clock that all processes share."""

from __future__ import annotations

import os
import time

from greenq import GreenQ

app = GreenQ("throttled")
SLOTS = 3
PER_SECOND = 20


def note(*words: object) -> None:
    """Append a line in one write."""
    line = " ".join(map(str, (f"{time.monotonic():.6f}", os.getpid(), *words)))
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


@app.task(bind=True, concurrency_limit=SLOTS)
def few(self, seconds):
    """Run with two others at most."""
    note("begin", "few", "all", self.request.id)
    time.sleep(seconds)
    note("end", "few", "all", self.request.id)


@app.task(bind=True, rate_limit=PER_SECOND)
def seldom(self):
    """Begin not too often."""
    note("begin", "seldom", "all", self.request.id)
    note("end", "seldom", "all", self.request.id)


@app.task(bind=True, unique="key")
def only(self, key, seconds):
    """Run with no other of the same key."""
    note("begin", "only", key, self.request.id)
    time.sleep(seconds)
    note("end", "only", key, self.request.id)
