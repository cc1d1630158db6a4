"""The application of the soak: each task marks its byte in a file; processes tell their size now and then."""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any

from greenq import GreenQ
from greenq.signals import worker_ready

__all__ = ["app"]

EVERY = 250
"""Tasks between two looks at the size of the process; there is one before the first, too."""
PAGE = os.sysconf("SC_PAGE_SIZE")

app = GreenQ("soak")
_marks: mmap.mmap | None = None
_done = 0
_turn = threading.Lock()
if "CHAOS_MARKS" in os.environ:
    with open(os.environ["CHAOS_MARKS"], "r+b") as _file:
        _marks = mmap.mmap(_file.fileno(), 0)


@worker_ready.connect
def _appear(**_: object) -> None:
    _tell(0)


def _mark(number: int) -> None:
    global _done
    assert _marks is not None
    _marks[number] = min(255, _marks[number] + 1)
    with _turn:
        _done += 1
        look = _done % EVERY == 0
    if look:
        _tell(_done)


def _tell(done: int) -> None:
    with open("/proc/self/statm") as file:
        _, resident, shared, *_ = (int(word) * PAGE for word in file.read().split())
    fd = os.open(os.environ["CHAOS_MEMORY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        # Of its own: the file of marks is shared, and a page more of it for each few thousand tasks.
        os.write(fd, f"{os.getpid()} {done} {resident - shared}\n".encode())
    finally:
        os.close(fd)


@app.task(name="soak.quick")
def quick(number: int, text: str) -> int:
    """End at once."""
    _mark(number)
    return len(text)


@app.task(name="soak.nap")
def nap(number: int, seconds: float) -> None:
    """Wait for a while."""
    threading.Event().wait(seconds)
    _mark(number)


@app.task(bind=True, name="soak.again", max_retries=1, default_retry_delay=0)
def again(self: Any, number: int) -> None:
    """Be retried once."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    _mark(number)


@app.task(name="soak.fail", throws=(ValueError,))
def fail(number: int) -> None:
    """Raise."""
    _mark(number)
    raise ValueError(number)
