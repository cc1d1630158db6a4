"""FastStream on uvloop, on RabbitMQ."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import async_tasks, tasks
from benchmarks.peers import Peer, concurrency, inside, rabbit_url


class Faststream(Peer):
    """It has no result store of its own."""

    name: ClassVar[str] = "faststream, RabbitMQ"
    requirements: ClassVar[tuple[str, ...]] = ("faststream[rabbit,cli]==0.7.8", "uvloop")
    rabbit: ClassVar[bool] = True
    portion: ClassVar[float] = 0.5

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "faststream"), "run", f"{__name__}:app"]


if inside():
    import logging
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    from faststream import FastStream  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from faststream.rabbit import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        Channel,
        RabbitBroker,
        RabbitQueue,
    )

    from benchmarks.async_sending import Sending

    broker = RabbitBroker(
        rabbit_url(), default_channel=Channel(prefetch_count=concurrency()), log_level=logging.WARNING
    )
    app = FastStream(broker)

    async def noop(body: str) -> None:
        await async_tasks.noop()

    for name in tasks.NAMES:
        broker.subscriber(name)(noop if name == "noop" else getattr(async_tasks, name))

    @asynccontextmanager
    async def session() -> AsyncIterator[None]:
        async with broker:
            for name in tasks.NAMES:
                await broker.declare_queue(RabbitQueue(name))
            yield

    async def send(task: str) -> None:
        await broker.publish(next(iter(tasks.arguments(task).values()), ""), task)

    sending = Sending(session, send)
    load, send_each = sending.load, sending.send_each
