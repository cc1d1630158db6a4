"""repid on uvloop, on Redis streams."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from benchmarks import async_tasks, tasks
from benchmarks.peers import Peer, concurrency, inside, redis_url


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
    chief: ClassVar[bool] = True

    def worker(self, python: Path, concurrency: int) -> list[str]:
        """Give the command that starts one worker."""
        return [str(python), "-m", __name__]


if inside():
    import repid  # type: ignore[import-untyped, import-not-found, unused-ignore]

    from benchmarks.async_sending import Sending

    app = repid.Repid()
    server = repid.RedisServer(redis_url(), batch_size=100)
    app.servers.register_server("default", server, is_default=True)
    router = repid.Router()
    for name in tasks.NAMES:
        router.actor(channel=name)(getattr(async_tasks, name))
    app.include_router(router)

    async def send(task: str) -> None:
        payload = tasks.arguments(task)
        await app.send_message_json(channel=task, payload=payload, headers={"topic": task})

    sending = Sending(server.connection, send)
    load, send_each = sending.load, sending.send_each

    async def work() -> None:
        async with server.connection():
            await app.run_worker(tasks_limit=concurrency())

    if __name__ == "__main__":
        import uvloop  # type: ignore[import-untyped, import-not-found, unused-ignore]

        uvloop.run(work())
