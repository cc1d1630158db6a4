"""Bounded pools of green threads, threads, processes and coroutines behind one contract.

Usable without the task queue::

    import pools

    with pools.create("gevent", capacity=100) as pool:
        call = pool.spawn(fetch, url, done=lambda call: print(call.value))

gevent and eventlet are imported only when their pool is chosen.
"""

from __future__ import annotations

from pools.base import Call, Features, Pool, Running, Service, Watch
from pools.errors import CallDied, Killed, PoolClosed, PoolError, Unsupported
from pools.table import create, load, names

__all__ = [
    "Call",
    "CallDied",
    "Features",
    "Killed",
    "Pool",
    "PoolClosed",
    "PoolError",
    "Running",
    "Service",
    "Unsupported",
    "Watch",
    "create",
    "load",
    "names",
]
