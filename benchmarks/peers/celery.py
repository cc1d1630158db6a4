"""Celery: its pools, on Redis and on RabbitMQ, as it ships and as its manual tunes it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, keeps_results, rabbit_url, redis_url, seconds, variant


class Celery(Peer):
    """One worker."""

    requirements: ClassVar[tuple[str, ...]] = (
        "celery[redis]==5.7.0", "gevent==26.9.0", "eventlet==0.41.3", "hiredis",
    )  # fmt: skip
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    pool: ClassVar[str] = "gevent"
    most: ClassVar[int] = 1_000_000
    """Concurrency that suits the pool."""
    options: ClassVar[tuple[str, ...]] = ()

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["-P", self.pool, "-c", str(min(concurrency, self.most)), *self.options]
        return [str(python), "-m", "celery", "-A", __name__, "worker", *options]


class CeleryGevent(Celery):
    """What most users of green threads run today."""

    name: ClassVar[str] = "Celery gevent, Redis"


class CeleryGeventTuned(Celery):
    """Without what green workers can do without: gossip, mingle, heartbeats, remote control."""

    name: ClassVar[str] = "Celery gevent, Redis, tuned"
    variant: ClassVar[str] = "tuned"
    options: ClassVar[tuple[str, ...]] = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class CeleryEventlet(Celery):
    """The other green pool."""

    name: ClassVar[str] = "Celery eventlet, Redis"
    pool: ClassVar[str] = "eventlet"


class CeleryPrefork(Celery):
    """Its default: a child for each core."""

    name: ClassVar[str] = "Celery prefork 2, Redis"
    many: ClassVar[bool] = False
    pool: ClassVar[str] = "prefork"
    most: ClassVar[int] = 2


class CelerySolo(Celery):
    """One task at a time."""

    name: ClassVar[str] = "Celery solo, Redis"
    many: ClassVar[bool] = False
    pool: ClassVar[str] = "solo"
    most: ClassVar[int] = 1


class CeleryGeventRabbitTuned(CeleryGeventTuned):
    """Its best setting: with heartbeats its green loop waits 100 ms after each message."""

    name: ClassVar[str] = "Celery gevent, RabbitMQ, tuned"
    variant: ClassVar[str] = "rabbit tuned"
    redis: ClassVar[bool] = False
    rabbit: ClassVar[bool] = True


if inside():
    import time
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager
    from typing import Any

    import celery  # type: ignore[import-untyped, import-not-found, unused-ignore]

    on_rabbit = variant().startswith("rabbit")
    broker = rabbit_url() if on_rabbit else redis_url()
    backend = "rpc://" if on_rabbit else redis_url()
    app: Any = celery.Celery("bench", broker=broker, backend=backend if keeps_results() else None)
    app.conf.broker_connection_retry_on_startup = True
    if variant().endswith("tuned"):
        app.conf.broker_heartbeat = 0
        app.conf.worker_enable_remote_control = False
        app.conf.worker_prefetch_multiplier = 4

    @app.task(name="noop", ignore_result=not keeps_results())  # type: ignore[untyped-decorator]
    def noop() -> None:
        tick()

    @app.task(name="sleep", ignore_result=not keeps_results())  # type: ignore[untyped-decorator]
    def sleep(duration: float) -> None:
        tick()
        time.sleep(duration)
        tick()

    def load(task: str, count: int) -> None:
        with app.producer_or_acquire() as producer:
            for _ in range(count):
                if task == "noop":
                    noop.apply_async(producer=producer)
                else:
                    sleep.apply_async((seconds(),), producer=producer)

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: noop.delay().get(timeout=30)

    def send_each(count: int) -> None:
        for _ in range(count):
            noop.delay()
