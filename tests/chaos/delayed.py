"""The application of `tests.chaos.delays`: a task that notes when it ran."""

from __future__ import annotations

import os
import time

from greenq import GreenQ

app = GreenQ("delayed")


@app.task(name="delayed.mark", ignore_result=True)
def mark(number: int, due: float) -> None:
    """Append which call this is, when it was due, and when it ran, in one write."""
    fd = os.open(os.environ["DELAYED_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{number} {due!r} {time.time()!r} {os.getpid()}\n".encode())
    finally:
        os.close(fd)
