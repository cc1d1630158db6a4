"""Brokers: what carries messages between processes. `open` makes the one that the settings name."""

from __future__ import annotations

from greenq.brokers.base import Broker, Guarantees
from greenq.brokers.table import connect, load, schemes
from greenq.config.schema import Settings

__all__ = ["Broker", "Guarantees", "connect", "load", "open", "schemes"]


def open(settings: Settings) -> Broker:
    """Make the broker that ``broker.url`` names; it connects at its first call.

    Raises:
        ConfigError: no broker has such an address, or the address has a mistake.
    """
    broker = connect(settings.broker.url, settings.broker.timeout)
    routed = (route.queue for route in settings.routes)
    broker.expect([*settings.worker.queues, settings.tasks.queue, *routed, *settings.queues])
    return broker
