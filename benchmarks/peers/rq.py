"""rq without a process for each job, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, keeps_results, redis_url, seconds


class Rq(Peer):
    """One job at a time: it has nothing else."""

    name: ClassVar[str] = "rq SimpleWorker, Redis"
    many: ClassVar[bool] = False
    requirements: ClassVar[tuple[str, ...]] = ("rq==2.12.0", "hiredis")
    redis: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


if inside():
    import time

    import redis  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import rq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    def noop() -> None:
        tick()

    def sleep(duration: float) -> None:
        tick()
        time.sleep(duration)
        tick()

    def load(task: str, count: int) -> None:
        queue = rq.Queue(connection=redis.Redis.from_url(redis_url()))
        ttl = 500 if keeps_results() else 0
        arguments = () if task == "noop" else (seconds(),)
        name = f"{__name__}.{task}"
        jobs = [rq.Queue.prepare_data(name, arguments, result_ttl=ttl) for _ in range(count)]
        queue.enqueue_many(jobs)

    if __name__ == "__main__":
        connection = redis.Redis.from_url(redis_url())
        rq.SimpleWorker(["default"], connection=connection).work(logging_level="WARNING")
