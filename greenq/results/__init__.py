"""Result stores: what keeps results until they are asked for. `open` makes the one that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenq.config.schema import Settings
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
    if settings.results.url is None:
        return None
    return connect(settings.results.url, encode, decode, settings.results.timeout)
