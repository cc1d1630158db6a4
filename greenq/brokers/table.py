"""The brokers by the scheme of their address; each is imported only when it is chosen."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any, cast

from greenq.brokers.base import Broker
from greenq.errors import ConfigError

__all__ = ["connect", "load", "schemes"]

REDIS = (
    "redis", "rediss", "redis+socket", "redis+cluster", "rediss+cluster", "unix", "sentinel",
    "valkey", "valkeys", "valkey+socket", "valkey+cluster", "valkeys+cluster",
)  # fmt: skip
BUILTIN: dict[str, tuple[str, str]] = {
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
FAMILIES: dict[str, tuple[str, str]] = dict.fromkeys(
    ("kombu", "sqla", "sqlalchemy"), ("greenq.brokers.kombu", "KombuBroker")
)
"""What a scheme has before its first plus → module and class: ``kombu+memory://``, ``sqla+postgresql://``."""
GROUP = "greenq.brokers"


def schemes() -> list[str]:
    """Every scheme that `load` knows, the built-in ones first."""
    return [
        *BUILTIN,
        *(f"{family}+*" for family in FAMILIES),
        *sorted(p.name for p in entry_points(group=GROUP) if p.name not in BUILTIN),
    ]


def load(scheme: str) -> type[Broker]:
    """Import the broker class for addresses of that scheme.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    try:
        found = BUILTIN.get(scheme)
        if found is None and "+" in scheme:
            found = FAMILIES.get(scheme.partition("+")[0])
        if found is not None:
            module, attribute = found
            return cast("type[Broker]", getattr(importlib.import_module(module), attribute))
        for point in entry_points(group=GROUP):
            if point.name == scheme:
                return cast("type[Broker]", point.load())
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "greenq", "pools"):
            raise
        raise ConfigError(
            f"the {scheme} broker needs the package {missing}, which is not installed: pip install {missing}"
        ) from error
    close = difflib.get_close_matches(scheme, schemes(), 1)
    hint = f"did you mean {close[0]}://?" if close else f"there is {', '.join(f'{s}://' for s in schemes())}"
    raise ConfigError(f"no broker has addresses that begin with {scheme}://: {hint}")


def connect(url: str, timeout: float = 30.0) -> Broker:
    """Make the broker for an address; it connects at its first call.

    Parameters:
        url: ``sqlite:///greenq.db``, ``memory://name``, ….
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: no broker has such an address, or the address has a mistake.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:
        raise ConfigError(
            f"a broker's address begins with a scheme: {', '.join(f'{s}://' for s in schemes())}"
        )
    make: Any = load(scheme.lower())
    return cast("Broker", make(url, timeout))
