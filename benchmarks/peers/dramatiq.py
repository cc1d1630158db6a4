"""dramatiq with its gevent worker: two processes, as it starts one for each core."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import tasks
from benchmarks.peers import Peer, inside, keeps_results, rabbit_url, redis_url, variant


class Dramatiq(Peer):
    """The threads of its two processes together are the concurrency."""

    requirements: ClassVar[tuple[str, ...]] = ("dramatiq[redis,rabbitmq]==2.2.1", "gevent==26.9.0", "hiredis")
    chief: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["--processes", "2", "--threads", str(concurrency // 2)]
        return [str(python.parent / "dramatiq-gevent"), __name__, *options]


class DramatiqRedis(Dramatiq):
    """On Redis."""

    name: ClassVar[str] = "dramatiq-gevent x2, Redis"
    variant: ClassVar[str] = "redis"
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True


class DramatiqRabbit(Dramatiq):
    """On RabbitMQ; it keeps results elsewhere only."""

    name: ClassVar[str] = "dramatiq-gevent x2, RabbitMQ"
    variant: ClassVar[str] = "rabbit"
    rabbit: ClassVar[bool] = True


if inside():
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager
    from typing import Any

    import dramatiq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    broker: Any
    if variant() == "redis":
        from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found, unused-ignore]

        broker = RedisBroker(url=redis_url())
    else:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker  # type: ignore[import-not-found, unused-ignore]

        broker = RabbitmqBroker(url=rabbit_url())
    options = {}
    if keeps_results():
        from dramatiq.results import Results  # type: ignore[import-not-found, unused-ignore]
        from dramatiq.results.backends import RedisBackend  # type: ignore[import-not-found, unused-ignore]

        broker.add_middleware(Results(backend=RedisBackend(url=redis_url())))
        options = {"store_results": True}
    dramatiq.set_broker(broker)
    calls: dict[str, Any] = {
        name: dramatiq.actor(getattr(tasks, name), actor_name=name, **options) for name in tasks.NAMES
    }
    noop = calls["noop"]

    def load(task: str, count: int) -> None:
        arguments = tasks.arguments(task)
        for _ in range(count):
            calls[task].send(**arguments)

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: noop.send().get_result(block=True, timeout=30_000)

    def send_each(count: int) -> None:
        for _ in range(count):
            noop.send()
