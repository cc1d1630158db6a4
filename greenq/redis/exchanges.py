"""Exchanges on Redis: kombu's tables of bindings, read by whoever publishes, and its channels for broadcasts.

Source: kombu.transport.redis (``_queue_bind``, ``get_table``, ``_put_fanout``), kombu.transport.virtual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from greenq.errors import PublishError
from greenq.exchanges import Shape, matches, pattern_of
from greenq.message import Message
from greenq.redis.client import Client
from greenq.redis.keys import Keys

__all__ = ["Exchanges"]


class Exchanges:
    """Binds queues, and finds those that a message is for.

    A fanout exchange is a channel to Celery's workers: only who listens hears it. The queues that greenq
    binds to one stand in a table of greenq's own, and keep what is sent like any other.
    """

    def __init__(self, client: Client, keys: Keys, database: int) -> None:
        self._client = client
        self._keys = keys
        self._channel = f"{keys.prefix}/{database}."
        self._shapes: dict[str, Shape] = {}
        self._fanouts: set[str] = set()
        self._bound: set[str] = set()

    def shape(self, shapes: Mapping[str, Shape]) -> None:
        """Hear of queues that are bound to exchanges."""
        self._shapes = {name: shape for name, shape in shapes.items() if shape.exchange}
        self._fanouts = {shape.exchange for shape in self._shapes.values() if shape.type == "fanout"}
        self._bound.clear()

    def exchange_of(self, broadcast: str) -> str:
        """The exchange of a broadcast queue."""
        return self._shapes[broadcast].exchange

    def topic(self, exchange: str, routing_key: str = "") -> str:
        """The channel on which kombu publishes what is sent to a fanout exchange."""
        return f"{self._channel}{exchange}/{routing_key}" if routing_key else f"{self._channel}{exchange}"

    def bindings(self, queues: Iterable[str]) -> list[tuple[str, ...]]:
        """The commands that bind queues to their exchanges."""
        keys = self._keys
        commands: list[tuple[str, ...]] = []
        for queue in queues:
            shape = self._shapes.get(queue)
            if shape is None or shape.broadcast:
                continue
            if shape.type == "fanout":
                commands.append(("SADD", self._table_of(shape.exchange), queue))
                continue
            for key in shape.keys:
                pattern = pattern_of(key) if shape.type == "topic" else ""
                member = f"{key}{keys.sep}{pattern}{keys.sep}{queue}"
                commands.append(("SADD", keys.binding(shape.exchange), member))
                commands.append(("SADD", keys.permanent(shape.exchange), member))
        return commands

    def bind_to(self, exchanges: Iterable[str], deadline: float) -> None:
        """Bind all queues that the configuration binds to these exchanges, once."""
        new = [exchange for exchange in exchanges if exchange not in self._bound]
        names = [name for name, shape in self._shapes.items() if shape.exchange in new]
        self._client.all(self.bindings(names), deadline, again=True)
        self._bound.update(new)

    def spread(
        self, messages: Sequence[Message], deadline: float
    ) -> list[tuple[list[Message], str | None, PublishError | None]]:
        """For each message its copies by queue, the channel that it is published on besides, or why it has
        nowhere to go.

        Raises:
            Failure: the tables cannot be read.
        """
        exchanges = list(dict.fromkeys(message.exchange for message in messages))
        self.bind_to(exchanges, deadline)
        asked = [("SMEMBERS", self._table_of(exchange)) for exchange in exchanges]
        tables = self._client.all(asked, deadline, again=True)
        members = dict(zip(exchanges, tables, strict=True))
        found = []
        for message in messages:
            fanout = message.exchange in self._fanouts
            queues = self._match(members[message.exchange], message.routing_key, fanout)
            problem = None
            if not queues and not fanout:
                problem = PublishError(
                    f"the exchange {message.exchange!r:.80} has no queue for the routing key "
                    f"{message.routing_key!r:.80}; nothing was sent"
                )
            channel = self.topic(message.exchange, message.routing_key) if fanout else None
            found.append(([replace(message, queue=queue) for queue in queues], channel, problem))
        return found

    def _table_of(self, exchange: str) -> str:
        if exchange in self._fanouts:
            return f"{self._keys.prefix}greenq.bound:{exchange}"
        return self._keys.binding(exchange)

    def _match(self, members: Iterable[Any], routing_key: str, fanout: bool) -> list[str]:
        queues: set[str] = set()
        for member in members:
            text = member.decode("utf-8", "replace")
            if fanout:
                queues.add(text)
                continue
            key, _, rest = text.partition(self._keys.sep)
            pattern, _, queue = rest.partition(self._keys.sep)
            if queue and matches(key, pattern, routing_key):
                queues.add(queue)
        return sorted(queues)
