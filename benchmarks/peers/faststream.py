"""FastStream on uvloop, on RabbitMQ."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, concurrency, inside, rabbit_url, seconds


class Faststream(Peer):
    """It has no result store of its own."""

    name: ClassVar[str] = "faststream, RabbitMQ"
    requirements: ClassVar[tuple[str, ...]] = ("faststream[rabbit,cli]==0.7.8", "uvloop")
    rabbit: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "faststream"), "run", f"{__name__}:app"]


if inside():
    import asyncio
    import logging

    from faststream import FastStream  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from faststream.rabbit import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        Channel,
        RabbitBroker,
    )

    broker = RabbitBroker(
        rabbit_url(), default_channel=Channel(prefetch_count=concurrency()), log_level=logging.WARNING
    )
    app = FastStream(broker)

    @broker.subscriber("noop")  # type: ignore[untyped-decorator]
    async def noop(body: str) -> None:
        tick()

    @broker.subscriber("sleep")  # type: ignore[untyped-decorator]
    async def sleep(duration: float) -> None:
        tick()
        await asyncio.sleep(duration)
        tick()

    async def send(task: str, count: int) -> None:
        async with broker:
            queue = task
            await broker.declare_queue(_queue(queue))
            for _ in range(count):
                await broker.publish("" if task == "noop" else seconds(), queue)

    def _queue(name: str) -> object:
        from faststream.rabbit import RabbitQueue  # type: ignore[import-not-found, unused-ignore]

        return RabbitQueue(name)

    def load(task: str, count: int) -> None:
        asyncio.run(send(task, count))
