"""The result stores by the scheme of their address; each is imported only when it is chosen."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, cast

from greenq.errors import ConfigError
from greenq.results.base import ResultStore

__all__ = ["connect", "load", "schemes"]

REDIS = (
    "redis", "rediss", "redis+socket", "redis+cluster", "rediss+cluster", "unix", "sentinel",
    "valkey", "valkeys", "valkey+socket", "valkey+cluster", "valkeys+cluster",
)  # fmt: skip
BUILTIN: dict[str, tuple[str, str]] = {
    "sqlite": ("greenq.results.sqlite", "SqliteStore"),
    "memory": ("greenq.results.memory", "MemoryStore"),
    **dict.fromkeys(REDIS, ("greenq.results.redis", "RedisStore")),
    **dict.fromkeys(("rpc", "rpcs"), ("greenq.results.rpc", "RpcStore")),
    "file": ("greenq.results.files", "FileStore"),
    "s3": ("greenq.results.files", "FileStore"),
}
"""Scheme → module and class. Third parties add theirs under the entry point group ``greenq.results``."""
FAMILIES: dict[str, tuple[str, str]] = {
    "db": ("greenq.results.database", "DatabaseStore"),
    "cache": ("greenq.results.memcached", "MemcachedStore"),
    "fsspec": ("greenq.results.files", "FileStore"),
}
"""What a scheme has before its first plus → module and class: ``db+postgresql://``, ``fsspec+gs://``."""
GROUP = "greenq.results"


def schemes() -> list[str]:
    """Every scheme that `load` knows, the built-in ones first."""
    return [
        *BUILTIN,
        *(f"{family}+*" for family in FAMILIES),
        *sorted(p.name for p in entry_points(group=GROUP) if p.name not in BUILTIN),
    ]


def load(scheme: str) -> type[ResultStore]:
    """Import the store class for addresses of that scheme.

    Raises:
        ConfigError: there is none, or its package is not installed.
    """
    try:
        found = BUILTIN.get(scheme)
        if found is None and "+" in scheme:
            found = FAMILIES.get(scheme.partition("+")[0])
        if found is not None:
            module, attribute = found
            return cast("type[ResultStore]", getattr(importlib.import_module(module), attribute))
        for point in entry_points(group=GROUP):
            if point.name == scheme:
                return cast("type[ResultStore]", point.load())
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "greenq", "pools"):
            raise
        raise ConfigError(
            f"the {scheme} result store needs the package {missing}, which is not installed: "
            f"pip install {missing}"
        ) from error
    close = difflib.get_close_matches(scheme, schemes(), 1)
    hint = f"did you mean {close[0]}://?" if close else f"there is {', '.join(f'{s}://' for s in schemes())}"
    raise ConfigError(f"no result store has addresses that begin with {scheme}://: {hint}")


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
    scheme, colon, _ = url.partition("://")
    if not colon:
        raise ConfigError(
            f"a result store's address begins with a scheme: {', '.join(f'{s}://' for s in schemes())}"
        )
    make: Any = load(scheme.lower())
    return cast("ResultStore", make(url, encode, decode, timeout))
