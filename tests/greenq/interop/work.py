"""The functions that both sides run as tasks of the same names."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

NAMES = ("add", "mirror", "fail", "moment", "size", "spin")


def add(x: Any, y: Any) -> Any:
    return x + y


def mirror(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


def fail(text: str) -> None:
    raise ValueError(text)


def moment() -> float:
    return time.time()


def size(body: str) -> int:
    return len(body)


def note(number: int) -> None:
    """Write down that it ran, in this process's page of the ledger."""
    with (Path(os.environ["INTEROP_LEDGER"]) / str(os.getpid())).open("a") as page:
        page.write(f"{number}\n")


def spin(seconds: float) -> None:
    """Write down that it ran, and let no other green thread run for so long."""
    note(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def persist(self: Any, times: int) -> list[Any]:
    """Retry so many times, and then tell how often it was retried."""
    if self.request.retries < times:
        # Celery sends the next message first, and then looks and writes RETRY in two steps: a next run that
        # ended meanwhile would lose its SUCCESS.
        raise self.retry(countdown=0.5, max_retries=times)
    return [self.request.retries, self.request.id]
