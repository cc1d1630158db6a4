"""greenq with gevent on Redis, on the queues that Celery uses, and a time limit set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, redis_url, seconds


class GreenqRedis(Peer):
    """The same broker as Celery's."""

    name: ClassVar[str] = "greenq gevent, Redis"
    redis: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["--app", f"{__name__}:app", "--pool", "gevent", "--concurrency", str(concurrency)]
        return [str(python), "-m", "greenq", "worker", *options]


if inside():
    import time

    from greenq import GreenQ

    app = GreenQ("bench", broker=redis_url())

    @app.task(name="noop", ignore_result=True, time_limit=60)
    def noop() -> None:
        tick()

    @app.task(name="sleep", ignore_result=True, time_limit=60)
    def sleep(duration: float) -> None:
        tick()
        time.sleep(duration)
        tick()

    def load(task: str, count: int) -> None:
        call = noop.call() if task == "noop" else sleep.call(seconds())
        app.send_many(call for _ in range(count))
