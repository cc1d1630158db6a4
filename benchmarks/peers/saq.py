"""saq on asyncio, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, concurrency, inside, redis_url, seconds


class Saq(Peer):
    """It always keeps results."""

    name: ClassVar[str] = "saq, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("saq[redis,hiredis]==0.26.4", "typing_extensions")
    redis: ClassVar[bool] = True
    stores: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "saq"), f"{__name__}.settings", "--quiet"]


if inside():
    import asyncio
    from typing import Any

    import saq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    queue: Any = saq.Queue.from_url(redis_url())

    async def noop(context: Any) -> None:
        tick()

    async def sleep(context: Any, *, duration: float) -> None:
        tick()
        await asyncio.sleep(duration)
        tick()

    settings = {
        "queue": queue,
        "functions": [noop, sleep],
        "concurrency": concurrency(),
    }

    async def send(task: str, count: int) -> None:
        await queue.connect()
        for _ in range(count):
            await (queue.enqueue("noop") if task == "noop" else queue.enqueue("sleep", duration=seconds()))
        await queue.disconnect()

    def load(task: str, count: int) -> None:
        asyncio.run(send(task, count))
