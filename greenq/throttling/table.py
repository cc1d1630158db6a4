"""Where limits are kept, by the scheme of an address; each is imported only when it is chosen."""

from __future__ import annotations

from typing import cast

from greenq.config.schema import Settings
from greenq.errors import ConfigError
from greenq.schemes import REDIS, Place, Schemes
from greenq.throttling.base import ThrottleStore

__all__ = ["address_of", "connect", "required"]

BUILTIN: dict[str, Place] = {
    "sqlite": ("greenq.throttling.sqlite", "SqliteThrottle"),
    "memory": ("greenq.throttling.memory", "MemoryThrottle"),
    **dict.fromkeys(REDIS, ("greenq.throttling.redis", "RedisThrottle")),
}
"""Scheme → module and class. Third parties add theirs under the entry point group ``greenq.throttling``."""
_table = Schemes("store of limits", "greenq.throttling", BUILTIN, {})


def connect(url: str) -> ThrottleStore:
    """Make the store of limits for an address; it connects at its first call.

    Parameters:
        url: ``sqlite:///greenq.db``, ``redis://localhost:6379/0``, ``memory://name``.

    Raises:
        ConfigError: none has such an address, or the address has a mistake.
    """
    return cast("ThrottleStore", _table.of(url)(url))


def address_of(settings: Settings) -> str | None:
    """Where limits are kept by these settings: where they say, else at the broker, else with the results.

    Returns:
        None where neither broker nor result store can do that.
    """
    if settings.throttling.url is not None:
        return settings.throttling.url
    for url in (settings.broker.url, settings.results.url):
        if url is not None and url.partition("://")[0].lower() in BUILTIN:
            return url
    return None


def required(settings: Settings, what: str) -> ThrottleStore:
    """Make the store of limits that something can't do without.

    Parameters:
        what: who needs it, for the message.

    Raises:
        ConfigError: there is none, or its address has a mistake.
    """
    url = address_of(settings)
    if url is None:
        scheme = settings.broker.url.partition("://")[0]
        raise ConfigError(
            f"{what} takes a place that all workers share, and neither the {scheme} broker nor the result "
            "store is one: set throttling.url to a redis:// or sqlite:// address"
        )
    return connect(url)
