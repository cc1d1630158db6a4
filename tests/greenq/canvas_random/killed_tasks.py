"""The application whose workers are killed: its tasks note each run in a file that outlives them."""

from __future__ import annotations

import os
import time
from typing import Any

from greenq import GreenQ
from greenq.results.base import ResultStore
from tests.greenq.canvas_random.shapes import ERRBACKS, RETRIES, Shape, digest

app = GreenQ("killed")
PAUSE = 0.03
"""Seconds that each takes: long enough to die in."""
if "LEDGER" in os.environ:
    # What dies between counting a chord's last member and sending its body: another sends it after so long.
    ResultStore.claim = 5.0


def note(what: str, seed: int, number: int, id: str, retries: int = 0) -> None:
    """Append a line in one write."""
    line = f"{what} {time.monotonic():.6f} {os.getpid()} {seed} {number} {retries} {id}\n"
    fd = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


@app.task(bind=True, max_retries=RETRIES)
def run(self: Any, *given: Any, seed: int, number: int, kind: str) -> int:
    """Run as its kind says."""
    note("begin", seed, number, self.request.id, self.request.retries)
    time.sleep(PAUSE)
    note("end", seed, number, self.request.id, self.request.retries)
    if kind == "failing":
        raise ValueError(number)
    if kind == "retried" and self.request.retries < RETRIES:
        raise self.retry(countdown=0)
    return digest(*given, number)


@app.task(bind=True)
def sent(self: Any, task_id: str, *, seed: int, number: int) -> None:
    """Be an errback that gets the id, in a message."""
    note("begin", seed, number, self.request.id)
    note("end", seed, number, self.request.id)


@app.task
def told(request: Any, exc: BaseException, traceback: str, *, seed: int, number: int) -> None:
    """Be an errback that is called where the task failed."""
    note("begin", seed, number, request.id)
    note("end", seed, number, request.id)


def signature(owner: GreenQ, shape: Shape, seed: int) -> Any:
    """A single call, with its errback."""
    made = owner.signature(run.name, kwargs={"seed": seed, "number": shape.number, "kind": shape.kind})
    if shape.errback:
        name = {"sent": sent.name, "told": told.name}[shape.errback]
        made.link_error(owner.signature(name, kwargs={"seed": seed, "number": shape.number + ERRBACKS}))
    return made
