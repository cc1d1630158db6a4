"""taskiq on asyncio, on Redis lists and streams."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import async_tasks, tasks
from benchmarks.peers import Peer, inside, keeps_results, redis_url, variant


class Taskiq(Peer):
    """One worker process."""

    requirements: ClassVar[tuple[str, ...]] = ("taskiq==0.13.0", "taskiq-redis==1.2.4", "hiredis", "uvloop")
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.5

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
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import asynccontextmanager, contextmanager
    from typing import Any

    import taskiq_redis  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from benchmarks.async_sending import Sending

    kind = taskiq_redis.RedisStreamBroker if variant() == "stream" else taskiq_redis.ListQueueBroker
    broker: Any = kind(redis_url())
    if keeps_results():
        broker = broker.with_result_backend(taskiq_redis.RedisAsyncResultBackend(redis_url()))
    calls: dict[str, Any] = {name: broker.task(name)(getattr(async_tasks, name)) for name in tasks.NAMES}

    @asynccontextmanager
    async def session() -> AsyncIterator[None]:
        await broker.startup()
        yield
        await broker.shutdown()

    async def send(task: str) -> Any:
        return await calls[task].kiq(**tasks.arguments(task))

    async def ask() -> object:
        return await (await send("noop")).wait_result(check_interval=0.0005, timeout=30)

    sending = Sending(session, send)
    load, send_each = sending.load, sending.send_each

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: sending.run(ask())
