"""Brokers: what carries messages between processes. `open` makes the one that the settings name."""

from __future__ import annotations

from greenq.brokers.base import Broker, Guarantees
from greenq.brokers.table import connect, load, schemes
from greenq.config.schema import Settings
from greenq.exchanges import shapes_of

__all__ = ["Broker", "Guarantees", "connect", "load", "open", "schemes"]


def open(settings: Settings) -> Broker:
    """Make the broker that ``broker.url`` names; it connects at its first call.

    Raises:
        ConfigError: no broker has such an address, or the address has a mistake.
    """
    broker = connect(settings.broker.url, settings.broker.timeout)
    broker.shape(shapes_of(settings))
    routed = (route.queue for route in settings.routes if route.queue is not None)
    plain = (name for name, queue in settings.queues.items() if not queue.broadcast)
    broker.expect([*settings.worker.queues, settings.tasks.queue, *routed, *plain])
    return broker
