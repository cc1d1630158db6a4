"""arq on asyncio, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import async_tasks, tasks
from benchmarks.peers import Peer, concurrency, inside, keeps_results, redis_url


class Arq(Peer):
    """One worker."""

    name: ClassVar[str] = "arq, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("arq==0.28.0",)
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.25

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "arq"), f"{__name__}.WorkerSettings"]


if inside():
    import logging
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import asynccontextmanager, contextmanager
    from typing import Any

    import arq  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from arq.connections import RedisSettings  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from arq.worker import func  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from benchmarks.async_sending import Sending

    logging.getLogger("arq.worker").setLevel(logging.WARNING)
    pool: Any = None

    def with_context(name: str) -> Any:
        task = getattr(async_tasks, name)

        async def run(context: Any, **arguments: Any) -> None:
            await task(**arguments)

        return func(run, name=name)

    class WorkerSettings:
        """What the command reads."""

        functions: ClassVar[list[Any]] = [with_context(name) for name in tasks.NAMES]
        redis_settings = RedisSettings.from_dsn(redis_url())
        max_jobs = concurrency()
        keep_result = 500 if keeps_results() else 0

    @asynccontextmanager
    async def session() -> AsyncIterator[None]:
        global pool
        pool = await arq.create_pool(WorkerSettings.redis_settings)
        yield
        await pool.aclose()

    async def send(task: str) -> Any:
        return await pool.enqueue_job(task, **tasks.arguments(task))

    async def ask() -> object:
        return await (await send("noop")).result(timeout=30, poll_delay=0.0005)

    sending = Sending(session, send)
    load, send_each = sending.load, sending.send_each

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: sending.run(ask())
