"""The same tasks in a Celery application; where it is says the environment."""

from __future__ import annotations

import os
import time

from celery import Celery


def make(url: str) -> Celery:
    """A Celery application with the same tasks."""
    app = Celery("works", broker=url, backend=url)
    app.conf.update(broker_connection_retry_on_startup=True)

    @app.task(name="works.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="works.sleep")
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return app


app = make(os.environ.get("STEERED_URL", "memory://"))
