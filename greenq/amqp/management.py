"""Ask RabbitMQ's management plugin for what AMQP does not tell: all queues, leases, and priorities."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from greenq.amqp.address import Address
from greenq.dialing import places
from greenq.tls import context_of

__all__ = ["Management", "Told"]

PORT, SECURE_PORT = 15672, 15671
SERVING = "greenq.delay."
"""Queues whose names begin so hold what waits for others."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the server last counted in one queue; it counts every few seconds.

    Parameters:
        ready: None if it has not counted yet.
        leased: held by workers of all kinds.
        by_priority: the ready ones; empty if the queue has no priorities.
    """

    ready: int | None
    leased: int = 0
    by_priority: Mapping[int, int] = field(default_factory=dict)


class Management:
    """Asks over HTTP, with the user and password of the broker's address.

    Parameters:
        address: its `management` says where; None for the usual port of its first node, "" for nowhere.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        where = urlsplit(address.management or "")
        self._secure = where.scheme == "https" if address.management else address.tls is not None
        self._host = where.hostname or address.nodes[0][0]
        self._port = where.port or (SECURE_PORT if self._secure else PORT)
        self._path = where.path.rstrip("/")

    def queues(self, timeout: float) -> dict[str, Told] | None:
        """The queues of the virtual host that hold tasks; None if nobody tells.

        Parameters:
            timeout: seconds.
        """
        if self._address.management == "":
            return None
        try:
            listed = self._ask(timeout)
            return {queue["name"]: _told(queue) for queue in listed if _holds_tasks(queue)}
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError):
            # It is not there, or something else is, or this user may not ask: then AMQP's answers must do.
            return None

    def _ask(self, timeout: float) -> Any:
        tls = self._address.tls
        # The library's own look-up knows no deadline: it comes after one that does.
        places(self._host, self._port, time.monotonic() + timeout)
        connection = (
            http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=context_of(tls) if tls else None
            )
            if self._secure
            else http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        )
        credentials = base64.b64encode(f"{self._address.user}:{self._address.password}".encode()).decode()
        try:
            connection.request(
                "GET",
                f"{self._path}/api/queues/{quote(self._address.vhost, safe='')}",
                headers={"Authorization": f"Basic {credentials}"},
            )
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise LookupError(response.status)
            return json.loads(response.read())
        finally:
            connection.close()


def _holds_tasks(queue: Mapping[str, Any]) -> bool:
    """Not one for replies, remote control, events, delays or dead letters."""
    passing = queue.get("exclusive") or queue.get("auto_delete") or "x-expires" in queue["arguments"]
    return not passing and not queue["name"].startswith((SERVING, "dead.")) and queue["name"][-5:] != ".dead"


def _told(queue: Mapping[str, Any]) -> Told:
    lengths = (queue.get("backing_queue_status") or {}).get("priority_lengths") or {}
    return Told(
        queue.get("messages_ready"),
        queue.get("messages_unacknowledged") or 0,
        {int(priority): count for priority, count in lengths.items() if count},
    )
