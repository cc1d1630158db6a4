"""Test your own tasks: an application in memory, run where it is called or by a worker in this process.

>>> from greenq import GreenQ
>>> from greenq.testing.app import eager
>>> app = GreenQ("shop")
>>> @app.task
... def add(x: int, y: int) -> int:
...     return x + y
>>> with eager(app):
...     add.delay(1, 2).get()
3
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from greenq.app import GreenQ
from greenq.composer import new_id
from greenq.worker.worker import Worker
from pools import table

__all__ = ["eager", "in_memory", "working"]

SOURCE = "greenq.testing"
"""Where `greenq config show` and error messages say that these settings come from."""


@contextmanager
def in_memory(app: GreenQ, **settings: Any) -> Iterator[GreenQ]:
    """Let `app` send to, and ask, this process's memory; what it sends stays in `app.broker`.

    Nothing is shared with another use of it, and afterwards the application is as it was before.

    Parameters:
        settings: more of the configuration, with ``__`` for the dot: ``tasks__serializer="msgpack"``.
    """
    before = app.overrides
    own = f"memory://{new_id()}"
    given = {"broker.url": own, "results.url": own, "throttling.url": own}
    given |= {name.replace("__", "."): value for name, value in settings.items()}
    app.close()
    app.override({**before, **{name: (value, SOURCE) for name, value in given.items()}})
    try:
        yield app
    finally:
        app.close()
        app.override(before)


@contextmanager
def eager(app: GreenQ, **settings: Any) -> Iterator[GreenQ]:
    """Let `app` run tasks where they are called, retries at once; arguments still pass the serializer.

    Parameters:
        settings: see `in_memory`.
    """
    with in_memory(app, tasks__eager=True, **settings):
        yield app


@contextmanager
def working(app: GreenQ, concurrency: int = 4, timeout: float = 30.0, **settings: Any) -> Iterator[Worker]:
    """Let a worker on threads of this process run what `app` sends, as a real one would.

    But for hard time limits: no thread can be ended from outside, so tasks run without theirs.

    Parameters:
        concurrency: how many tasks run at once.
        timeout: seconds that tasks still running may take when the block ends.
        settings: see `in_memory`.
    """
    with in_memory(app, **settings), table.create("threads", concurrency) as pool:
        for task in app.tasks.values():
            task.options = replace(task.options, time_limit=None)
        worker = Worker(app, pool)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop(timeout)
