"""Look at messages that wait for their time, without taking them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from greenq.message import Delivery
from greenq.redis.client import Client
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.keys import Keys
from greenq.redis.scripts import HEAD

__all__ = ["upcoming"]

STEP = 20
"""Messages that are read at once: one may be large."""
LARGEST = 8 << 20
"""Bytes that are read of one queue; who wants to see what waits does not want all of it."""


def upcoming(
    client: Client, keys: Keys, queues: Sequence[str], limit: int, deadline: float
) -> list[Delivery]:
    """What waits in these queues, the next due of each first; see `greenq.brokers.base.Broker.upcoming`."""
    found: list[tuple[float, Delivery]] = []
    for queue in queues:
        for due, raw in _members(client, keys.delayed(queue), limit, deadline):
            try:
                message = dataclasses.replace(unpack(queue, raw), due=due)
            except Unreadable:
                continue
            found.append((due, Delivery(message, queue, None)))
    found.sort(key=lambda one: one[0])
    return [delivery for _, delivery in found[:limit]]


def _members(client: Client, name: str, limit: int, deadline: float) -> Iterator[tuple[float, bytes]]:
    read = 0
    for start in range(0, limit, STEP):
        last = min(start + STEP, limit) - 1
        pairs = client.do("ZRANGE", name, start, last, "WITHSCORES", deadline=deadline, again=True)
        for member, score in pairs:
            raw = member[5 + int(member[:5]) + HEAD :]
            read += len(raw)
            yield float(score) / 1000, raw
        if len(pairs) < STEP or read > LARGEST:
            return
