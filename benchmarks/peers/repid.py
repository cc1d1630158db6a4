"""repid on uvloop, on Redis streams."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks.ledger import tick
from benchmarks.peers import Peer, concurrency, inside, redis_url, seconds


class Repid(Peer):
    """It keeps no results. Batches of a hundred, the best that was found."""

    name: ClassVar[str] = "repid, Redis"
    requirements: ClassVar[tuple[str, ...]] = (
        "repid[redis]==2.1.4",
        "typing_extensions",
        "uvloop",
        "hiredis",
    )
    redis: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


if inside():
    import asyncio

    import repid  # type: ignore[import-untyped, import-not-found, unused-ignore]

    app = repid.Repid()
    server = repid.RedisServer(redis_url(), batch_size=100)
    app.servers.register_server("default", server, is_default=True)
    router = repid.Router()

    @router.actor(channel="noop")  # type: ignore[untyped-decorator]
    async def noop() -> None:
        tick()

    @router.actor(channel="sleep")  # type: ignore[untyped-decorator]
    async def sleep(duration: float) -> None:
        tick()
        await asyncio.sleep(duration)
        tick()

    app.include_router(router)

    async def send(task: str, count: int) -> None:
        async with server.connection():
            for _ in range(count):
                payload = {} if task == "noop" else {"duration": seconds()}
                headers = {"topic": task}
                await app.send_message_json(channel=task, payload=payload, headers=headers)

    def load(task: str, count: int) -> None:
        asyncio.run(send(task, count))

    async def work() -> None:
        async with server.connection():
            await app.run_worker(tasks_limit=concurrency())

    if __name__ == "__main__":
        import uvloop  # type: ignore[import-untyped, import-not-found, unused-ignore]

        uvloop.run(work())
