"""rq without a process for each job, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import tasks
from benchmarks.peers import Peer, inside, keeps_results, redis_url


class Rq(Peer):
    """One job at a time: it has nothing else."""

    name: ClassVar[str] = "rq SimpleWorker, Redis"
    many: ClassVar[bool] = False
    requirements: ClassVar[tuple[str, ...]] = ("rq==2.12.0", "hiredis")
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    bulk: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.1

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


if inside():
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager

    import redis  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import rq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    connection = redis.Redis.from_url(redis_url())
    queue = rq.Queue(connection=connection)
    ttl = 500 if keeps_results() else 0
    TOGETHER = 1000

    def load(task: str, count: int) -> None:
        arguments = tuple(tasks.arguments(task).values())
        for begin in range(0, count, TOGETHER):
            some = range(min(TOGETHER, count - begin))
            queue.enqueue_many(
                [rq.Queue.prepare_data(f"benchmarks.tasks.{task}", arguments, result_ttl=ttl) for _ in some]
            )

    def send_bulk(count: int) -> None:
        load("noop", count)

    def send_each(count: int) -> None:
        for _ in range(count):
            queue.enqueue(tasks.noop, result_ttl=ttl)

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: queue.enqueue(tasks.noop, result_ttl=ttl).latest_result(timeout=30)

    if __name__ == "__main__":
        rq.SimpleWorker(["default"], connection=connection).work(logging_level="WARNING")
