"""Celery with its gevent pool on Redis, otherwise as it ships."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, redis_url, seconds


class CeleryGevent(Peer):
    """What most users of green threads run today."""

    name: ClassVar[str] = "Celery gevent, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("celery[redis]==5.7.0", "gevent==26.9.0")
    redis: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", "celery", "-A", __name__, "worker", "-P", "gevent", "-c", str(concurrency)]


if inside():
    import time
    from typing import Any

    import celery  # type: ignore[import-untyped, import-not-found, unused-ignore]

    app: Any = celery.Celery("bench", broker=redis_url())

    @app.task(name="noop", ignore_result=True)  # type: ignore[untyped-decorator]
    def noop() -> None:
        tick()

    @app.task(name="sleep", ignore_result=True)  # type: ignore[untyped-decorator]
    def sleep(duration: float) -> None:
        tick()
        time.sleep(duration)
        tick()

    def load(task: str, count: int) -> None:
        for _ in range(count):
            if task == "noop":
                noop.delay()
            else:
                sleep.delay(seconds())
