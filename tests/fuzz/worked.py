"""The application whose workers get spoiled messages; each run is noted outside the broker."""

from __future__ import annotations

import json
import os

from greenq.request import current
from tests.fuzz.pipeline import application

__all__ = ["app", "note"]


def note() -> None:
    """Append the id of the task that runs, and the process, in one write."""
    request = current.get()
    assert request is not None
    fd = os.open(os.environ["FUZZ_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{json.dumps([request.id, os.getpid()])}\n".encode())
    finally:
        os.close(fd)


app = application(noted=note)
