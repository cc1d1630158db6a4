"""`benchmarks.tasks` for systems that run coroutines; standard library only."""

from __future__ import annotations

import asyncio

from benchmarks import tasks
from benchmarks.ledger import tick

__all__ = ["carry", "fetch", "noop", "sleep"]


async def noop() -> None:
    """Do nothing."""
    tick()


async def sleep(duration: float) -> None:
    """Wait for so many seconds."""
    tick()
    await asyncio.sleep(duration)
    tick()


async def fetch(port: int) -> None:
    """Get a page from the HTTP server on a local port."""
    tick()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(tasks.REQUEST)
        answer = await reader.read()
    finally:
        writer.close()
    tasks.check(answer)
    tick()


async def carry(payload: str) -> None:
    """Take a large argument."""
    tasks.carry(payload)
