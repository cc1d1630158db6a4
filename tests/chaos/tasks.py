"""The application under faults: each run of a task leaves its start and its end in the ledger."""

from __future__ import annotations

import os
import time
from typing import Any

from greenq import GreenQ
from tests.chaos import failpoints, witness
from tests.chaos.ledger import END, START, Ledger, main_process

__all__ = ["app", "ledger"]

LIMITED = bool(os.environ.get("CHAOS_LIMITED"))
"""Set for pools that can keep hard limits."""

app = GreenQ("chaos")
ledger = Ledger(os.environ.get("CHAOS_LEDGER", os.devnull))

if "CHAOS_LEDGER" in os.environ:
    # The witness first: what it could record before a crash was so.
    failpoints.install(ledger)
    witness.install(ledger)


def _begin(request: Any) -> tuple[str, int]:
    about = (request.id, request.retries)
    ledger.write(START, [(*about, "")])
    failpoints.reach("started")
    return about


def _end(about: tuple[str, int], note: str) -> str:
    ledger.write(END, [(*about, note)])
    return f"{main_process()}:{time.monotonic():.6f}"


@app.task(bind=True, name="chaos.quick")
def quick(self: Any) -> str:
    """End at once."""
    return _end(_begin(self.request), "returned")


@app.task(bind=True, name="chaos.nap")
def nap(self: Any, seconds: float) -> str:
    """Take a while, as calls of a service do."""
    about = _begin(self.request)
    time.sleep(seconds)
    return _end(about, "returned")


@app.task(bind=True, name="chaos.spin")
def spin(self: Any, seconds: float) -> str:
    """Take a while of the processor's time."""
    about = _begin(self.request)
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        time.sleep(0)
    return _end(about, "returned")


@app.task(bind=True, name="chaos.fail", throws=(ValueError,))
def fail(self: Any) -> None:
    """Raise."""
    _end(_begin(self.request), "raised")
    raise ValueError("as it should")


@app.task(bind=True, name="chaos.again", max_retries=3, default_retry_delay=0)
def again(self: Any, times: int) -> str:
    """Be retried: each run leaves a message that follows from it."""
    about = _begin(self.request)
    if self.request.retries < times:
        _end(about, "retried")
        raise self.retry(countdown=0)
    return _end(about, "returned")
