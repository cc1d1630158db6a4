"""greenq with the defaults that ship, a time limit set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import greenq
from benchmarks import tasks
from benchmarks.peers import Peer, inside, keeps_results, rabbit_url, redis_url, variant


class Greenq(Peer):
    """One worker process and its supervisor."""

    asks: ClassVar[bool] = True
    bulk: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 5.0
    pool: ClassVar[str] = "gevent"
    most: ClassVar[int] = 1_000_000
    """Concurrency that suits the pool."""

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["--app", f"{__name__}:app", "--pool", self.pool, "-c", str(min(concurrency, self.most))]
        return [str(python), "-m", "greenq", "worker", *options]

    def workers(self, python: Path, concurrency: int, processes: int) -> list[list[str]]:
        """Give the command that starts so many processes: one supervisor watches over all."""
        return [[*self.worker(python, concurrency), "--processes", str(processes)]]


class GreenqSqlite(Greenq):
    """The embedded broker."""

    name: ClassVar[str] = "greenq gevent, SQLite"
    variant: ClassVar[str] = "sqlite"
    chief: ClassVar[bool] = True
    chords: ClassVar[bool] = hasattr(greenq, "chord")
    scales: ClassVar[bool] = True


class GreenqRedis(Greenq):
    """The same broker as Celery's."""

    name: ClassVar[str] = "greenq gevent, Redis"
    variant: ClassVar[str] = "redis"
    redis: ClassVar[bool] = True
    chief: ClassVar[bool] = True
    chords: ClassVar[bool] = hasattr(greenq, "chord")
    scales: ClassVar[bool] = True


class GreenqEventlet(GreenqRedis):
    """Eventlet in gevent's place."""

    name: ClassVar[str] = "greenq eventlet, Redis"
    sends: ClassVar[bool] = False
    chief: ClassVar[bool] = False
    chords: ClassVar[bool] = False
    pool: ClassVar[str] = "eventlet"


class GreenqPrefork(GreenqRedis):
    """Two children, as Celery has one for each core."""

    name: ClassVar[str] = "greenq prefork 2, Redis"
    sends: ClassVar[bool] = False
    many: ClassVar[bool] = False
    chief: ClassVar[bool] = False
    portion: ClassVar[float] = 1.0
    pool: ClassVar[str] = "prefork"
    most: ClassVar[int] = 2


class GreenqSolo(GreenqRedis):
    """One task at a time."""

    name: ClassVar[str] = "greenq solo, Redis"
    sends: ClassVar[bool] = False
    many: ClassVar[bool] = False
    chief: ClassVar[bool] = False
    chords: ClassVar[bool] = False
    variant: ClassVar[str] = "redis, unlimited"
    portion: ClassVar[float] = 1.0
    pool: ClassVar[str] = "solo"
    most: ClassVar[int] = 1


class GreenqRabbit(Greenq):
    """Results go back to whoever sent the call."""

    name: ClassVar[str] = "greenq gevent, RabbitMQ"
    variant: ClassVar[str] = "rabbit"
    rabbit: ClassVar[bool] = True
    chief: ClassVar[bool] = True
    scales: ClassVar[bool] = True


class GreenqRabbitUnconfirmed(GreenqRabbit):
    """Sending that does not wait until the server has the message."""

    name: ClassVar[str] = "greenq gevent, RabbitMQ, unconfirmed"
    variant: ClassVar[str] = "rabbit, unconfirmed"
    chief: ClassVar[bool] = False
    scales: ClassVar[bool] = False
    only: ClassVar[tuple[str, ...]] = ("enqueue", "bulk")


if inside():
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager
    from typing import Any

    from greenq import GreenQ

    if rabbit_url():
        option = "?confirm_publish=no" if variant().endswith("unconfirmed") else ""
        app = GreenQ("bench", broker=rabbit_url() + option, results="rpc://" if keeps_results() else None)
    elif redis_url():
        app = GreenQ("bench", broker=redis_url(), results=redis_url() if keeps_results() else None)
    else:
        app = GreenQ("bench")
    # No pool ends a task in the thread that runs all others, so solo refuses a limit.
    limit = None if variant().endswith("unlimited") else 600
    calls: dict[str, Any] = {
        name: app.task(name=name, ignore_result=not keeps_results(), time_limit=limit)(getattr(tasks, name))
        for name in tasks.NAMES
    }
    noop = calls["noop"]

    def load(task: str, count: int) -> None:
        call = calls[task].call(**tasks.arguments(task))
        app.send_many(call for _ in range(count))

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: noop.delay().get(timeout=30)

    def send_each(count: int) -> None:
        for _ in range(count):
            noop.delay()

    def send_bulk(count: int) -> None:
        call = noop.call()
        app.send_many(call for _ in range(count))

    def chord(size: int) -> None:
        greenq.chord((noop.si() for _ in range(size)), noop.si()).apply_async().get(timeout=170)
