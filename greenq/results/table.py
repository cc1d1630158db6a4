"""The result stores by the scheme of their address; each is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from greenq.results.base import ResultStore
from greenq.schemes import REDIS, Place, Schemes

__all__ = ["connect", "load", "schemes"]

BUILTIN: dict[str, Place] = {
    "sqlite": ("greenq.results.sqlite", "SqliteStore"),
    "memory": ("greenq.results.memory", "MemoryStore"),
    **dict.fromkeys(REDIS, ("greenq.results.redis", "RedisStore")),
    **dict.fromkeys(("rpc", "rpcs"), ("greenq.results.rpc", "RpcStore")),
    "file": ("greenq.results.files", "FileStore"),
    "s3": ("greenq.results.files", "FileStore"),
}
"""Scheme → module and class. Third parties add theirs under the entry point group ``greenq.results``."""
FAMILIES: dict[str, Place] = {
    "db": ("greenq.results.database", "DatabaseStore"),
    "cache": ("greenq.results.memcached", "MemcachedStore"),
    "fsspec": ("greenq.results.files", "FileStore"),
}
"""What a scheme has before its first plus → module and class: ``db+postgresql://``, ``fsspec+gs://``."""
_table = Schemes("result store", "greenq.results", BUILTIN, FAMILIES)


def schemes() -> list[str]:
    """Every scheme that `load` knows, the built-in ones first."""
    return _table.names()


def load(scheme: str) -> type[ResultStore]:
    """Import the store class for addresses of that scheme.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    return cast("type[ResultStore]", _table.load(scheme))


def connect(
    url: str,
    encode: Callable[[dict[str, Any]], bytes],
    decode: Callable[[bytes], dict[str, Any]],
    timeout: float = 30.0,
) -> ResultStore:
    """Make the result store for an address; it connects at its first call.

    Parameters:
        url: ``sqlite:///greenq.db``, ``memory://name``, ….
        encode, decode: see `ResultStore`.
        timeout: seconds that a call may take which is given no timeout of its own.

    Raises:
        ConfigError: no result store has such an address, or the address has a mistake.
    """
    return cast("ResultStore", _table.of(url)(url, encode, decode, timeout))
