"""For systems whose producers are coroutines: one event loop that a plain program sends from, call by call.

Runs in the peers' environments: standard library only.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

__all__ = ["Sending"]

R = TypeVar("R")


class Sending:
    """Opens what sends once, at the first call, and closes it when the program ends.

    Parameters:
        session: gives a context; inside, `send` can be called.
        send: sends one call of the task of this name.
    """

    def __init__(
        self,
        session: Callable[[], AbstractAsyncContextManager[Any]],
        send: Callable[[str], Awaitable[object]],
    ) -> None:
        self._session = session
        self._send = send
        self._runner: asyncio.Runner | None = None

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Carry out a coroutine inside the session."""
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._runner.run(self._open())
            atexit.register(self._close)
        return self._runner.run(work)

    async def _open(self) -> None:
        self._ready, self._over = asyncio.Event(), asyncio.Event()
        self._holder = asyncio.create_task(self._hold())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait((self._holder, ready), return_when=asyncio.FIRST_COMPLETED)
        if self._holder.done():
            self._holder.result()

    async def _hold(self) -> None:
        # In a task of its own: some contexts must be left by the task that entered them.
        async with self._session():
            self._ready.set()
            await self._over.wait()

    def _close(self) -> None:
        assert self._runner is not None
        self._over.set()
        self._runner.run(_finished(self._holder))
        self._runner.close()

    def load(self, task: str, count: int) -> None:
        """Send so many calls, one after the other."""
        self.run(self._some(task, count))

    def send_each(self, count: int) -> None:
        """Send so many calls of ``noop``, one after the other."""
        self.run(self._some("noop", count))

    async def _some(self, task: str, count: int) -> None:
        for _ in range(count):
            await self._send(task)


async def _finished(task: asyncio.Task[None]) -> None:
    await task
