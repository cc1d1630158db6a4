"""Return what a dead Celery worker had taken and not acknowledged, as kombu's workers do among themselves.

Source: kombu.transport.redis (``QoS.restore_visible``, ``Channel._do_restore_message``, ``Channel._lookup``).
"""

from __future__ import annotations

import json
import re
import secrets
import time
from enum import Enum
from typing import Any

from greenq.redis.address import Address
from greenq.redis.client import Client
from greenq.redis.keys import Keys
from greenq.redis.scripts import RESTORE

__all__ = ["Restorer"]

SOME = 100
"""Messages that are looked at together."""
MOST = 1000
"""Messages of one look; the next look takes the next."""
MUTEX_SECONDS = 300


class End(Enum):
    """What became of one entry."""

    RESTORED = 1
    GONE = 2
    LEFT = 3


class Restorer:
    """Goes through what Celery's workers hold, a part at each look.

    Entries that nobody can read or that belong to no queue stay where they are: the next look begins behind
    those that it passed, or they would hide all that come after them.
    """

    def __init__(self, client: Client, keys: Keys, address: Address) -> None:
        self._client = client
        self._keys = keys
        self._address = address
        self._passed = 0

    def restore(self, timeout: float) -> int:
        """Return messages older than the visibility timeout to their queues; how many they were."""
        client, keys = self._client, self._keys
        deadline = time.monotonic() + timeout
        before = time.time() - self._address.visibility_timeout
        tags = self._older(before, deadline)
        if not tags:
            return 0
        mine = secrets.token_hex(16)
        if client.do("SET", keys.unacked_mutex, mine, "NX", "EX", MUTEX_SECONDS, deadline=deadline) is None:
            return 0
        restored = 0
        try:
            for _ in range(0, MOST, SOME):
                ends = [_restore(client, keys, tag, deadline) for tag in tags]
                restored += ends.count(End.RESTORED)
                self._passed += ends.count(End.LEFT)
                tags = self._older(before, deadline)
                if not tags:
                    break
            return restored
        finally:
            if client.do("GET", keys.unacked_mutex, deadline=deadline) == mine.encode():
                client.do("DEL", keys.unacked_mutex, deadline=deadline)

    def _older(self, before: float, deadline: float) -> list[bytes]:
        """The next entries from before a time of day; from the beginning again behind the last."""
        window = (self._keys.unacked_index, 0, before, "LIMIT", self._passed, SOME)
        tags: list[bytes] = self._client.do("ZRANGEBYSCORE", *window, deadline=deadline, again=True)
        if not tags:
            self._passed = 0
        return tags


def _restore(client: Client, keys: Keys, tag: bytes, deadline: float) -> End:
    found = client.do("HGET", keys.unacked, tag, deadline=deadline, again=True)
    if found is None:
        client.do("ZREM", keys.unacked_index, tag, deadline=deadline)
        return End.GONE
    try:
        payload, exchange, routing_key = json.loads(found)
        payload["headers"]["redelivered"] = True
        payload["properties"]["delivery_info"]["redelivered"] = True
        priority = payload["properties"].get("priority")
        queues = _queues(client, keys, exchange or "", routing_key or "", deadline)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return End.LEFT  # not kombu's: left alone for whoever wrote it
    step = min(max(priority, 0), 9) if type(priority) is int else 0
    raw = json.dumps(payload)
    lists = [part for queue in queues for part in (keys.list_of(queue, step), raw)]
    if not lists:
        return End.LEFT
    arguments = (keys.unacked, keys.unacked_index, tag, found, *lists)
    return End.RESTORED if int(client.script(RESTORE, arguments, deadline)) else End.GONE


def _queues(client: Client, keys: Keys, exchange: str, routing_key: str, deadline: float) -> list[str]:
    """Where a message of that exchange and routing key goes: kombu's table, read for direct and topic."""
    if not exchange:
        return [routing_key]
    table: list[Any] = client.do("SMEMBERS", keys.binding(exchange), deadline=deadline, again=True)
    return [queue for member in table if (queue := _leads_to(member, keys.sep, routing_key)) is not None]


def _leads_to(member: bytes, separator: str, routing_key: str) -> str | None:
    """The queue of one row of kombu's table, if messages with that routing key go there."""
    try:
        key, pattern, queue = member.decode().split(separator)
        if key == routing_key or (pattern and re.fullmatch(pattern.rstrip("$").lstrip("^"), routing_key)):
            return queue
    except (ValueError, re.error):
        return None  # no row of kombu's, and no reason to keep back what others lead to
    return None
