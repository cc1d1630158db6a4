"""Celery: its pools, on Redis and on RabbitMQ, as it ships and as its manual tunes it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import tasks
from benchmarks.peers import Peer, inside, keeps_results, rabbit_url, redis_url, variant


class Celery(Peer):
    """One worker."""

    requirements: ClassVar[tuple[str, ...]] = (
        "celery[redis]==5.7.0", "gevent==26.9.0", "eventlet==0.41.3", "hiredis",
    )  # fmt: skip
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    bulk: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.25
    pool: ClassVar[str] = "gevent"
    most: ClassVar[int] = 1_000_000
    """Concurrency that suits the pool."""
    options: ClassVar[tuple[str, ...]] = ()

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["-P", self.pool, "-c", str(min(concurrency, self.most)), *self.options]
        return [str(python), "-m", "celery", "-A", __name__, "worker", *options]

    def workers(self, python: Path, concurrency: int, processes: int) -> list[list[str]]:
        """Give the commands of several workers, which need names of their own."""
        command = self.worker(python, concurrency)
        return [[*command, "-n", f"w{number}@bench"] for number in range(processes)]


class CeleryGevent(Celery):
    """What most users of green threads run today."""

    name: ClassVar[str] = "Celery gevent, Redis"
    chief: ClassVar[bool] = True
    chords: ClassVar[bool] = True
    scales: ClassVar[bool] = True


class ServedByGreenq(CeleryGevent):
    """The application below, unmodified, under greenq's worker; what sends to it is Celery."""

    name: ClassVar[str] = "greenq gevent, Redis, Celery's application"
    requirements: ClassVar[tuple[str, ...]] = ()
    sends: ClassVar[bool] = False
    only: ClassVar[tuple[str, ...]] = ("noop", "noop-results", "sleep-100ms-c1000")
    portion: ClassVar[float] = 2.0

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["--app", f"{__name__}:app", "--pool", self.pool, "-c", str(concurrency)]
        return [str(python), "-m", "greenq", "worker", *options]


class CeleryGeventTuned(Celery):
    """Without what green workers can do without: gossip, mingle, heartbeats, remote control."""

    name: ClassVar[str] = "Celery gevent, Redis, tuned"
    variant: ClassVar[str] = "tuned"
    options: ClassVar[tuple[str, ...]] = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class CeleryEventlet(Celery):
    """The other green pool."""

    name: ClassVar[str] = "Celery eventlet, Redis"
    sends: ClassVar[bool] = False
    pool: ClassVar[str] = "eventlet"


class CeleryPrefork(Celery):
    """Its default: a child for each core."""

    name: ClassVar[str] = "Celery prefork 2, Redis"
    sends: ClassVar[bool] = False
    many: ClassVar[bool] = False
    chords: ClassVar[bool] = True
    pool: ClassVar[str] = "prefork"
    most: ClassVar[int] = 2


class CelerySolo(Celery):
    """One task at a time."""

    name: ClassVar[str] = "Celery solo, Redis"
    sends: ClassVar[bool] = False
    many: ClassVar[bool] = False
    pool: ClassVar[str] = "solo"
    most: ClassVar[int] = 1


class CeleryRabbit(Celery):
    """With heartbeats its green loop waits 100 ms after each message."""

    name: ClassVar[str] = "Celery gevent, RabbitMQ"
    variant: ClassVar[str] = "rabbit"
    redis: ClassVar[bool] = False
    rabbit: ClassVar[bool] = True
    bulk: ClassVar[bool] = False
    portion: ClassVar[float] = 0.005
    only: ClassVar[tuple[str, ...]] = ("noop", "sleep-100ms-c1000", "start")


class CeleryRabbitTuned(CeleryGeventTuned):
    """Its best setting there."""

    name: ClassVar[str] = "Celery gevent, RabbitMQ, tuned"
    variant: ClassVar[str] = "rabbit tuned"
    redis: ClassVar[bool] = False
    rabbit: ClassVar[bool] = True
    chief: ClassVar[bool] = True
    scales: ClassVar[bool] = True
    portion: ClassVar[float] = 0.5


class CeleryRabbitPrefork(CeleryPrefork):
    """Its default pool there."""

    name: ClassVar[str] = "Celery prefork 2, RabbitMQ"
    variant: ClassVar[str] = "rabbit prefork"
    redis: ClassVar[bool] = False
    rabbit: ClassVar[bool] = True
    chords: ClassVar[bool] = False
    portion: ClassVar[float] = 0.5


if inside():
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
    calls: dict[str, Any] = {
        name: app.task(name=name, ignore_result=not keeps_results())(getattr(tasks, name))
        for name in tasks.NAMES
    }
    noop = calls["noop"]
    TOGETHER = 1000

    def load(task: str, count: int) -> None:
        args = tuple(tasks.arguments(task).values())
        with app.producer_or_acquire() as producer:
            for _ in range(count):
                calls[task].apply_async(args, producer=producer)

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: noop.delay().get(timeout=30)

    def send_each(count: int) -> None:
        for _ in range(count):
            noop.delay()

    def send_bulk(count: int) -> None:
        for begin in range(0, count, TOGETHER):
            celery.group(noop.si() for _ in range(min(TOGETHER, count - begin))).apply_async()

    def chord(size: int) -> None:
        celery.chord((noop.si() for _ in range(size)), noop.si()).apply_async().get(timeout=170)
