"""The queues that a worker takes from: those of its settings, and its own where one is a broadcast."""

from __future__ import annotations

from greenq.brokers.base import Broker
from greenq.config.schema import Settings
from greenq.exchanges import shapes_of

__all__ = ["attend", "declare"]


def _is_broadcast(settings: Settings, queue: str) -> bool:
    shape = shapes_of(settings).get(queue)
    return shape is not None and shape.broadcast


def declare(broker: Broker, settings: Settings) -> None:
    """Make the queues known that workers share.

    Raises:
        BrokerError: the broker can't be reached, or refuses.
    """
    broker.declare([name for name in settings.worker.queues if not _is_broadcast(settings, name)])


def attend(broker: Broker, settings: Settings, node: str) -> list[str]:
    """The queues to fetch from, once this node hears what is broadcast.

    Parameters:
        node: the worker's name, under which its own queues are kept.

    Raises:
        BrokerError: the broker can't be reached, or refuses.
    """
    timeout = settings.broker.timeout
    return [
        broker.attend(name, node, timeout) if _is_broadcast(settings, name) else name
        for name in settings.worker.queues
    ]
