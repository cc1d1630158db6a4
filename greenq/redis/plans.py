"""What all fetches from the same queues have in common, worked out once."""

from __future__ import annotations

from typing import Any

from greenq.redis.keys import Keys
from greenq.redis.resp import pack_all

__all__ = ["Part", "Plan"]


TRACKED = ("CLIENT", "CACHING", "YES")
"""Goes before the one command whose keys the server is to watch."""


class Part:
    """One of the queues of a fetch."""

    __slots__ = ("delayed", "lists", "places", "queue")

    def __init__(self, keys: Keys, queue: str) -> None:
        self.queue = queue
        self.delayed = keys.delayed(queue)
        self.lists = keys.lists(queue)
        self.places = [(queue, name) for name in self.lists]


class Plan:
    """The arguments that all fetches from the same queues share."""

    __slots__ = ("head", "parts", "places", "strict", "watch")

    def __init__(self, keys: Keys, process: str, seconds: float, queues: tuple[str, ...]) -> None:
        self.head = (
            keys.leased(process), keys.lease(process), keys.processes, keys.attempts,
            process, max(1, round(seconds * 1000)),
        )  # fmt: skip
        self.parts = [Part(keys, queue) for queue in queues]
        self.places = [place for part in self.parts for place in part.places]
        self.strict: list[Any] = []
        for part in self.parts:
            self.strict += [part.delayed, 1 << 30, len(part.lists), *part.lists]
        names = (name for part in self.parts for name in (part.delayed, *part.lists))
        self.watch = pack_all((TRACKED, ("EXISTS", *names)))
