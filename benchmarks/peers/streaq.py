"""streaQ on anyio, on Redis streams."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, concurrency, inside, keeps_results, redis_url, seconds


class Streaq(Peer):
    """One worker."""

    name: ClassVar[str] = "streaq, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("streaq==7.2.0",)
    redis: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "streaq"), "run", f"{__name__}:worker"]


if inside():
    import asyncio
    from typing import Any

    import streaq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    worker: Any = streaq.Worker(redis_url=redis_url(), concurrency=concurrency())
    ttl = 300 if keeps_results() else 0

    @worker.task(name="noop", silent=True, ttl=ttl)  # type: ignore[untyped-decorator]
    async def noop() -> None:
        tick()

    @worker.task(name="sleep", silent=True, ttl=ttl)  # type: ignore[untyped-decorator]
    async def sleep(duration: float) -> None:
        tick()
        await asyncio.sleep(duration)
        tick()

    async def send(task: str, count: int) -> None:
        async with worker:
            for begin in range(0, count, 1000):
                some = range(min(1000, count - begin))
                calls = [noop.enqueue() if task == "noop" else sleep.enqueue(seconds()) for _ in some]
                await worker.enqueue_many(calls)

    def load(task: str, count: int) -> None:
        asyncio.run(send(task, count))
