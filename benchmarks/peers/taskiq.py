"""taskiq on asyncio, on Redis lists and streams."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, inside, keeps_results, redis_url, seconds, variant


class Taskiq(Peer):
    """One worker process."""

    requirements: ClassVar[tuple[str, ...]] = ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis", "uvloop")
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        options = ["--workers", "1", "--max-async-tasks", str(concurrency), "--log-level", "WARNING"]
        return [str(python.parent / "taskiq"), "worker", f"{__name__}:broker", *options]


class TaskiqStream(Taskiq):
    """Acknowledged messages."""

    name: ClassVar[str] = "taskiq, Redis stream"
    variant: ClassVar[str] = "stream"


class TaskiqList(Taskiq):
    """At most once."""

    name: ClassVar[str] = "taskiq, Redis list"
    variant: ClassVar[str] = "list"


if inside():
    import asyncio
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager
    from typing import Any

    import taskiq_redis  # type: ignore[import-untyped, import-not-found, unused-ignore]

    kind = taskiq_redis.RedisStreamBroker if variant() == "stream" else taskiq_redis.ListQueueBroker
    broker: Any = kind(redis_url())
    if keeps_results():
        broker = broker.with_result_backend(taskiq_redis.RedisAsyncResultBackend(redis_url()))

    @broker.task("noop")  # type: ignore[untyped-decorator]
    async def noop() -> None:
        tick()

    @broker.task("sleep")  # type: ignore[untyped-decorator]
    async def sleep(duration: float) -> None:
        tick()
        await asyncio.sleep(duration)
        tick()

    async def send(task: str, count: int) -> None:
        await broker.startup()
        for _ in range(count):
            await (noop.kiq() if task == "noop" else sleep.kiq(seconds()))
        await broker.shutdown()

    def load(task: str, count: int) -> None:
        asyncio.run(send(task, count))

    async def send_some(count: int) -> None:
        await broker.startup()
        for _ in range(count):
            await noop.kiq()
        await broker.shutdown()

    def send_each(count: int) -> None:
        asyncio.run(send_some(count))

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        async def ask() -> object:
            return await (await noop.kiq()).wait_result(check_interval=0.0005, timeout=30)

        with asyncio.Runner() as runner:
            runner.run(broker.startup())
            yield lambda: runner.run(ask())
            runner.run(broker.shutdown())
