"""The pools by name; each is imported only when it is chosen."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any

from pools.base import Pool
from pools.errors import PoolError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = ["create", "load", "names"]

BUILTIN: dict[str, tuple[str, str]] = {
    "gevent": ("pools.gevent", "GeventPool"),
    "eventlet": ("pools.eventlet", "EventletPool"),
    "prefork": ("pools.prefork", "PreforkPool"),
    "threads": ("pools.threads", "ThreadPool"),
    "solo": ("pools.solo", "SoloPool"),
    "asyncio": ("pools.asyncio", "AsyncioPool"),
}
"""Name → module and class. Third parties add theirs under the entry point group ``pools``."""


def _entry_points() -> EntryPoints:
    # Imported here: it takes a tenth of a second and imports sockets, before anything can be made green.
    from importlib.metadata import entry_points

    return entry_points(group="pools")


def names() -> list[str]:
    """Every name that `create` knows, the built-in ones first."""
    return [*BUILTIN, *sorted(point.name for point in _entry_points() if point.name not in BUILTIN)]


def load(name: str) -> type[Pool]:
    """Import the pool class of that name.

    Raises:
        PoolError: no pool has that name, or its package is not installed.
    """
    if name in BUILTIN:
        module, attribute = BUILTIN[name]
        try:
            return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in ("", "pools"):
                raise
            raise PoolError(
                f"the {name} pool needs the package {missing}, which is not installed: "
                f"pip install {missing}, or choose another of {', '.join(names())}"
            ) from error
    for point in _entry_points():
        if point.name == name:
            return point.load()  # type: ignore[no-any-return]
    close = difflib.get_close_matches(name, names(), 1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names())}"
    raise PoolError(f"there is no pool named {name!r}: {hint}")


def create(name: str, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> Pool:
    """Make a pool by name.

    Parameters:
        name: one of `names`.
        capacity: how many calls may run at once.
        setup: see `Pool`.

    Raises:
        PoolError: no pool has that name, or its package is not installed.
    """
    return load(name)(capacity, setup)
