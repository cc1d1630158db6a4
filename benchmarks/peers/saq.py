"""saq on asyncio, on Redis."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import async_tasks, tasks
from benchmarks.peers import Peer, concurrency, inside, redis_url


class Saq(Peer):
    """It always keeps results."""

    name: ClassVar[str] = "saq, Redis"
    requirements: ClassVar[tuple[str, ...]] = ("saq[redis,hiredis]==0.26.4", "typing_extensions")
    redis: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    stores: ClassVar[bool] = True
    portion: ClassVar[float] = 0.25

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python.parent / "saq"), f"{__name__}.settings", "--quiet"]


if inside():
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import asynccontextmanager, contextmanager
    from typing import Any

    import saq  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from benchmarks.async_sending import Sending

    queue: Any = saq.Queue.from_url(redis_url())

    def with_context(name: str) -> tuple[str, Callable[..., Any]]:
        task = getattr(async_tasks, name)

        async def run(context: Any, **arguments: Any) -> None:
            await task(**arguments)

        return name, run

    settings = {
        "queue": queue,
        "functions": [with_context(name) for name in tasks.NAMES],
        "concurrency": concurrency(),
    }

    @asynccontextmanager
    async def session() -> AsyncIterator[None]:
        await queue.connect()
        yield
        await queue.disconnect()

    async def send(task: str) -> Any:
        # Its own limit of ten seconds would end the tasks that are there to be looked at.
        return await queue.enqueue(task, timeout=0, **tasks.arguments(task))

    async def ask() -> object:
        return await queue.apply("noop", timeout=30)

    sending = Sending(session, send)
    load, send_each = sending.load, sending.send_each

    @contextmanager
    def asking() -> Iterator[Callable[[], object]]:
        yield lambda: sending.run(ask())
