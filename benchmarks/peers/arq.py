"""arq on asyncio, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, concurrency, inside, keeps_results, redis_url, seconds


class Arq(Peer):
    """One worker."""

    name: ClassVar[str] = "arq, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("arq==0.28.0",)
    redis: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "arq"), f"{__name__}.WorkerSettings"]


if inside():
    import asyncio
    import logging
    from typing import Any

    import arq  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from arq.connections import RedisSettings  # type: ignore[import-untyped, import-not-found, unused-ignore]

    logging.getLogger("arq.worker").setLevel(logging.WARNING)

    async def noop(context: Any) -> None:
        tick()

    async def sleep(context: Any, duration: float) -> None:
        tick()
        await asyncio.sleep(duration)
        tick()

    class WorkerSettings:
        """What the command reads."""

        functions: ClassVar[list[Any]] = [noop, sleep]
        redis_settings = RedisSettings.from_dsn(redis_url())
        max_jobs = concurrency()
        keep_result = 500 if keeps_results() else 0

    async def send(task: str, count: int) -> None:
        pool = await arq.create_pool(WorkerSettings.redis_settings)
        for _ in range(count):
            await (pool.enqueue_job("noop") if task == "noop" else pool.enqueue_job("sleep", seconds()))
        await pool.aclose()

    def load(task: str, count: int) -> None:
        asyncio.run(send(task, count))
