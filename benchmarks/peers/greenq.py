"""greenq with the defaults that ship, a time limit set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, keeps_results, rabbit_url, redis_url, seconds, variant


class Greenq(Peer):
    """One worker process and its supervisor."""

    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    pool: ClassVar[str] = "gevent"

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["--app", f"{__name__}:app", "--pool", self.pool, "--concurrency", str(concurrency)]
        return [str(python), "-m", "greenq", "worker", *options]


class GreenqSqlite(Greenq):
    """The embedded broker."""

    name: ClassVar[str] = "greenq gevent, SQLite"
    variant: ClassVar[str] = "sqlite"


class GreenqRedis(Greenq):
    """The same broker as Celery's."""

    name: ClassVar[str] = "greenq gevent, Redis"
    variant: ClassVar[str] = "redis"
    redis: ClassVar[bool] = True


class GreenqRedisEventlet(GreenqRedis):
    """Eventlet in gevent's place."""

    name: ClassVar[str] = "greenq eventlet, Redis"
    pool: ClassVar[str] = "eventlet"


class GreenqRedisPrefork(GreenqRedis):
    """Two children, as Celery has one for each core."""

    name: ClassVar[str] = "greenq prefork 2, Redis"
    many: ClassVar[bool] = False
    pool: ClassVar[str] = "prefork"

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return super().worker(python, 2)


class GreenqRedisSolo(GreenqRedis):
    """One task at a time."""

    name: ClassVar[str] = "greenq solo, Redis"
    many: ClassVar[bool] = False
    variant: ClassVar[str] = "redis, unlimited"
    pool: ClassVar[str] = "solo"

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return super().worker(python, 1)


class GreenqRabbit(Greenq):
    """Results go back to whoever sent the call."""

    name: ClassVar[str] = "greenq gevent, RabbitMQ"
    variant: ClassVar[str] = "rabbit"
    rabbit: ClassVar[bool] = True


if inside():
    import time
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager

    from greenq import GreenQ

    if variant() in ("redis", "redis, unlimited", "pop", "loop"):
        app = GreenQ("bench", broker=redis_url(), results=redis_url() if keeps_results() else None)
    elif variant() == "rabbit":
        app = GreenQ("bench", broker=rabbit_url(), results="rpc://" if keeps_results() else None)
    else:
        app = GreenQ("bench")
    # No pool ends a task in the thread that runs all others, so solo refuses a limit.
    limit = None if variant().endswith("unlimited") else 60

    @app.task(name="noop", ignore_result=not keeps_results(), time_limit=limit)
    def noop() -> None:
        tick()

    @app.task(name="sleep", ignore_result=not keeps_results(), time_limit=limit)
    def sleep(duration: float) -> None:
        tick()
        time.sleep(duration)
        tick()

    def load(task: str, count: int) -> None:
        call = noop.call() if task == "noop" else sleep.call(seconds())
        app.send_many(call for _ in range(count))

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: noop.delay().get(timeout=30)

    def send_each(count: int) -> None:
        for _ in range(count):
            noop.delay()
