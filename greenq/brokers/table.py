"""The brokers by the scheme of their address; each is imported only when it is chosen."""

from __future__ import annotations

from typing import cast

from greenq.brokers.base import Broker
from greenq.schemes import REDIS, Place, Schemes

__all__ = ["connect", "load", "schemes"]

BUILTIN: dict[str, Place] = {
    "sqlite": ("greenq.brokers.sqlite", "SqliteBroker"),
    "memory": ("greenq.brokers.memory", "MemoryBroker"),
    **dict.fromkeys(REDIS, ("greenq.brokers.redis", "RedisBroker")),
    **dict.fromkeys(("amqp", "amqps", "pyamqp", "pyamqps"), ("greenq.brokers.amqp", "AmqpBroker")),
    **dict.fromkeys(
        ("filesystem", "sqs", "zookeeper", "etcd", "consul", "mongodb", "kafka", "gcpubsub", "pgmq", "qpid"),
        ("greenq.brokers.kombu", "KombuBroker"),
    ),
    **dict.fromkeys(("azurestoragequeues", "azureservicebus"), ("greenq.brokers.kombu", "KombuBroker")),
}
"""Scheme → module and class. Third parties add theirs under the entry point group ``greenq.brokers``."""
FAMILIES: dict[str, Place] = dict.fromkeys(
    ("kombu", "sqla", "sqlalchemy"), ("greenq.brokers.kombu", "KombuBroker")
)
"""What a scheme has before its first plus → module and class: ``kombu+memory://``, ``sqla+postgresql://``."""
_table = Schemes("broker", "greenq.brokers", BUILTIN, FAMILIES)


def schemes() -> list[str]:
    """Every scheme that `load` knows, the built-in ones first."""
    return _table.names()


def load(scheme: str) -> type[Broker]:
    """Import the broker class for addresses of that scheme.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    return cast("type[Broker]", _table.load(scheme))


def connect(url: str, timeout: float = 30.0) -> Broker:
    """Make the broker for an address; it connects at its first call.

    Parameters:
        url: ``sqlite:///greenq.db``, ``memory://name``, ….
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: no broker has such an address, or the address has a mistake.
    """
    return cast("Broker", _table.of(url)(url, timeout))
