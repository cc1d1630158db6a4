"""Result stores: what keeps results until they are asked for. `open` makes the one that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenq.config.schema import Settings
from greenq.errors import ConfigError
from greenq.results.base import ResultStore
from greenq.results.table import connect, load, schemes

__all__ = ["ResultStore", "connect", "load", "open", "schemes"]


def open(
    settings: Settings, encode: Callable[[dict[str, Any]], bytes], decode: Callable[[bytes], dict[str, Any]]
) -> ResultStore | None:
    """Make the store that ``results.url`` names, or return None if results are not kept.

    Parameters:
        encode, decode: turn Celery's result record into bytes and back; see `ResultStore`.

    Raises:
        ConfigError: no result store has such an address, or the address has a mistake.
    """
    url = settings.results.url
    if url is None:
        return None
    if url in ("rpc", "rpc:", "rpc:/", "rpc://"):
        url = _beside(settings.broker.url)
    return connect(url, encode, decode, settings.results.timeout)


def _beside(broker: str) -> str:
    """The address of replies over the broker's server, as Celery's ``rpc://`` means it."""
    scheme, _, rest = broker.partition("://")
    secure = {"amqp": "rpc", "pyamqp": "rpc", "amqps": "rpcs", "pyamqps": "rpcs"}
    if scheme not in secure:
        raise ConfigError(
            "results.url: rpc:// sends results through the broker, which must be RabbitMQ (amqp://): choose "
            "another store, or give rpc://host the address of a RabbitMQ"
        )
    return f"{secure[scheme]}://" + rest.replace(f"{scheme}://", f"{secure[scheme]}://")
