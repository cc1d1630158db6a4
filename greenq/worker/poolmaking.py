"""Makes the pool that the settings name, where the process is fit for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenq.app import GreenQ
from greenq.errors import ConfigError, NotPatched
from greenq.worker.nodename import node_name
from pools import table
from pools.base import Pool
from pools.errors import PoolError
from pools.patching import unpatched

__all__ = ["make_pool", "require_green"]


def require_green(pool: str) -> None:
    """Refuse a pool whose library has not made the standard library green.

    Raises:
        NotPatched: names what is not.
    """
    missing = unpatched(pool)
    if missing:
        raise NotPatched(
            f"the worker needs a standard library that the {pool} pool can switch in, but these are not "
            f"patched: {', '.join(missing)}. Patch first thing in the program, run `greenq worker`, which "
            f"does, or use the pool alone"
        )


def make_pool(app: GreenQ, overrides: Mapping[str, tuple[Any, str]], config: str | None) -> Pool:
    """The pool that the settings name.

    Raises:
        ConfigError: it does not exist, or runs calls in processes that could not find the application.
    """
    settings = app.settings.worker
    try:
        kind = table.load(settings.pool)
        setup = None
        if kind.features.isolated:
            if app.settings.app is None:
                raise ConfigError(
                    f"the {settings.pool} pool imports the application in processes of its own and must know "
                    "where it is: say app: module:attribute in greenq.yaml"
                )
            setup = (
                "greenq.worker.child:set_up",
                (app.settings.app, dict(overrides), config, node_name(settings.node, 0)),
            )
        return kind(settings.concurrency or kind.usual_capacity(), setup)
    except (ValueError, PoolError) as error:
        raise ConfigError(f"worker.pool, worker.concurrency: {error}") from error
