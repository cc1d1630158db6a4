"""Take what another process holds of one task: it is stuck, and somebody else ends its task for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from greenq.message import Delivery, Message
from greenq.redis.client import Client
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.fetching import Fetcher
from greenq.redis.keys import Keys
from greenq.redis.scripts import TAKE_OVER

__all__ = ["take_over"]

SOME = 100
"""Leases that are looked at in one round trip."""


def take_over(
    client: Client, keys: Keys, fetcher: Fetcher, process: str, id: str, deadline: float
) -> list[Delivery]:
    """Lease what `process` holds of the task `id` to the process that fetches by `fetcher`."""
    if process == fetcher.process:
        return []
    held = keys.leased(process)
    found = list(_of_task(client, keys, held, id, deadline))
    if not found:
        return []
    fields = fetcher.fields([old.partition(":")[2] for old, _ in found])
    own = fetcher.process
    arguments: list[Any] = [
        held, keys.leased(own), keys.lease(own), keys.processes, keys.attempts, own,
        max(1, round(fetcher.seconds * 1000)),
    ]  # fmt: skip
    for (old, _), new in zip(found, fields, strict=True):
        arguments += [old, new]
    counts = client.script(TAKE_OVER, arguments, deadline)
    return [
        Delivery(message, message.queue, (own, field), count)
        for (_, message), field, count in zip(found, fields, counts, strict=True)
        if count >= 0
    ]


def _of_task(
    client: Client, keys: Keys, held: str, id: str, deadline: float
) -> Iterator[tuple[str, Message]]:
    """The leases in a process's hash that belong to a task."""
    fields = client.do("HKEYS", held, deadline=deadline, again=True)
    for at in range(0, len(fields), SOME):
        some = fields[at : at + SOME]
        raws = client.do("HMGET", held, *some, deadline=deadline, again=True)
        for field, raw in zip(some, raws, strict=True):
            if raw is None:
                continue
            name = field.decode("utf-8", "surrogateescape")
            try:
                message = unpack(keys.queue_of(name.partition(":")[2]), raw)
            except Unreadable:
                continue
            if message.headers.get("id") == id:
                yield name, message
