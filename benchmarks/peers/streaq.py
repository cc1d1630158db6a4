"""streaQ on anyio, on Redis streams."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import async_tasks, tasks
from benchmarks.peers import Peer, concurrency, inside, keeps_results, redis_url


class Streaq(Peer):
    """One worker."""

    name: ClassVar[str] = "streaq, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("streaq==7.2.0",)
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    bulk: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.25

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "streaq"), "run", f"{__name__}:worker"]


if inside():
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager
    from typing import Any

    import streaq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from benchmarks.async_sending import Sending

    worker: Any = streaq.Worker(redis_url=redis_url(), concurrency=concurrency())
    ttl = 300 if keeps_results() else 0
    calls: dict[str, Any] = {
        name: worker.task(name=name, silent=True, ttl=ttl)(getattr(async_tasks, name)) for name in tasks.NAMES
    }
    TOGETHER = 1000

    async def send(task: str) -> Any:
        return await calls[task].enqueue(**tasks.arguments(task))

    async def send_together(task: str, count: int) -> None:
        arguments = tasks.arguments(task)
        for begin in range(0, count, TOGETHER):
            some = range(min(TOGETHER, count - begin))
            await worker.enqueue_many([calls[task].enqueue(**arguments) for _ in some])

    async def ask() -> object:
        return await (await send("noop")).result(timeout=30)

    sending = Sending(lambda: worker, send)
    send_each = sending.send_each

    def load(task: str, count: int) -> None:
        sending.run(send_together(task, count))

    def send_bulk(count: int) -> None:
        sending.run(send_together("noop", count))

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: sending.run(ask())
