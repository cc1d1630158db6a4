"""Return what a dead Celery worker had taken and not acknowledged, as kombu's workers do among themselves.

Source: kombu.transport.redis (``QoS.restore_visible``, ``Channel._do_restore_message``, ``Channel._lookup``).
"""

from __future__ import annotations

import json
import re
import secrets
import time
from typing import Any

from greenq.redis.address import Address
from greenq.redis.client import Client
from greenq.redis.keys import Keys
from greenq.redis.scripts import RESTORE

__all__ = ["restore"]

SOME = 100
"""Messages of one look; the next look takes the next."""
MUTEX_SECONDS = 300


def restore(client: Client, keys: Keys, address: Address, timeout: float) -> int:
    """Return messages older than the visibility timeout to their queues; how many they were."""
    deadline = time.monotonic() + timeout
    before = time.time() - address.visibility_timeout
    tags = client.do(
        "ZRANGEBYSCORE", keys.unacked_index, 0, before, "LIMIT", 0, SOME, deadline=deadline, again=True
    )
    if not tags:
        return 0
    mine = secrets.token_hex(16)
    if client.do("SET", keys.unacked_mutex, mine, "NX", "EX", MUTEX_SECONDS, deadline=deadline) is None:
        return 0
    try:
        return sum(_restore(client, keys, tag, deadline) for tag in tags)
    finally:
        if client.do("GET", keys.unacked_mutex, deadline=deadline) == mine.encode():
            client.do("DEL", keys.unacked_mutex, deadline=deadline)


def _restore(client: Client, keys: Keys, tag: bytes, deadline: float) -> int:
    found = client.do("HGET", keys.unacked, tag, deadline=deadline, again=True)
    if found is None:
        client.do("ZREM", keys.unacked_index, tag, deadline=deadline)
        return 0
    try:
        payload, exchange, routing_key = json.loads(found)
        payload["headers"]["redelivered"] = True
        payload["properties"]["delivery_info"]["redelivered"] = True
        priority = payload["properties"].get("priority")
        queues = _queues(client, keys, exchange or "", routing_key or "", deadline)
    except (ValueError, TypeError, KeyError, AttributeError, re.error):
        return 0  # not kombu's: left alone for whoever wrote it
    step = min(max(priority, 0), 9) if type(priority) is int else 0
    raw = json.dumps(payload)
    lists = [part for queue in queues for part in (keys.list_of(queue, step), raw)]
    if not lists:
        return 0
    arguments = (keys.unacked, keys.unacked_index, tag, found, *lists)
    return int(client.script(RESTORE, arguments, deadline))


def _queues(client: Client, keys: Keys, exchange: str, routing_key: str, deadline: float) -> list[str]:
    """Where a message of that exchange and routing key goes: kombu's table, read for direct and topic."""
    if not exchange:
        return [routing_key]
    table: list[Any] = client.do("SMEMBERS", keys.binding(exchange), deadline=deadline, again=True)
    queues = []
    for member in table:
        key, pattern, queue = member.decode().split(keys.sep)
        if key == routing_key or (pattern and re.fullmatch(pattern.rstrip("$").lstrip("^"), routing_key)):
            queues.append(queue)
    return queues
