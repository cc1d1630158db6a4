"""How queues are made and bound to exchanges, as plain data that a broker is told beforehand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from greenq.config.schema import QueueSettings, Settings

__all__ = ["Shape", "broadcast_queue", "matches", "pattern_of", "shapes_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A queue that is not a plain one: bound to an exchange, declared otherwise, or a broadcast's.

    Parameters:
        exchange: that puts messages into it; empty where they are sent straight to it.
        type: of the exchange: direct, topic, fanout or headers.
        keys: what it is bound with; messages that are sent to this queue carry the first of them.
        binding_arguments: of a headers exchange.
        broadcast: each worker has a queue of its own on the exchange.
        arguments: of the queue's declaration.
    """

    name: str
    exchange: str = ""
    type: str = "direct"
    keys: tuple[str, ...] = ()
    binding_arguments: Mapping[str, Any] = field(default_factory=dict)
    broadcast: bool = False
    durable: bool = True
    auto_delete: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def through(self) -> bool:
        """Whether a message for this queue has to be sent to the exchange; else it goes straight to it."""
        return bool(self.exchange) and self.type != "direct"


def shapes_of(settings: Settings) -> dict[str, Shape]:
    """The queues of a configuration that are not plain ones, by name."""
    key = settings.tasks.routing_key or settings.tasks.queue
    made = {name: _shape(name, queue, key) for name, queue in settings.queues.items()}
    return {name: shape for name, shape in made.items() if shape != Shape(name=name, keys=(name,))}


def _shape(name: str, queue: QueueSettings, default_key: str) -> Shape:
    if queue.broadcast:
        return Shape(
            name=name, exchange=queue.exchange or name, type="fanout", broadcast=True,
            keys=(queue.routing_key or default_key,),
        )  # fmt: skip
    return Shape(
        name=name, exchange=queue.exchange or "", type=queue.exchange_type,
        keys=(queue.routing_key or name, *queue.bindings), binding_arguments=queue.binding_arguments,
        durable=queue.durable, auto_delete=queue.auto_delete, arguments=queue.arguments,
    )  # fmt: skip


def broadcast_queue(name: str, node: str) -> str:
    """The queue in which one node gets what is broadcast: the same after a restart of the node."""
    return f"bcast.{name}.{node}"


# ── matching routing keys, where the broker does not ─────────────────────────────────────────────────────


WORDS = {"*": r"[^\.]+", "#": r".*?"}
"""Wildcards of a binding key: one word, and any number of them."""


def pattern_of(key: str) -> str:
    """The regular expression that kombu keeps for the binding key of a topic exchange.

    Source: kombu/transport/virtual/exchange.py, ``TopicExchange.key_to_pattern``.
    """
    escaped = "".join(c if c.isalnum() or c in ".#*" else _escaped(c) for c in key)
    return "^" + r"\.".join(WORDS.get(word, word) for word in escaped.split(".")) + "$"


def _escaped(character: str) -> str:
    return "\\000" if character == "\0" else f"\\{character}"


def matches(key: str, pattern: str, routing_key: str) -> bool:
    """Whether a binding lets a message through: by its pattern (topic), else by its key (direct)."""
    if not pattern:
        return key == routing_key
    compiled = _compiled(pattern)
    return compiled is not None and compiled.match(routing_key) is not None


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:  # a stranger wrote it
        return None
