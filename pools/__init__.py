"""Bounded pools of green threads, threads, processes and coroutines behind one contract.

Usable without the task queue::

    import pools

    with pools.create("gevent", capacity=100) as pool:
        call = pool.spawn(fetch, url, done=lambda call: print(call.value))

gevent and eventlet are imported only when their pool is chosen, and the names below when they are first
used: `pools.patching` must come before everything else. What types they have is in ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "Call": "base",
    "CallDied": "errors",
    "Features": "base",
    "Killed": "errors",
    "Pool": "base",
    "PoolClosed": "errors",
    "PoolError": "errors",
    "Running": "base",
    "Service": "base",
    "Unsupported": "errors",
    "Watch": "base",
    "create": "table",
    "load": "table",
    "names": "table",
}
"""Public name → the module that has it."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pools' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"pools.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
