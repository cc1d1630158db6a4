"""Make the standard library green, or say what is not.

This module is imported before anything that opens a socket, starts a thread or makes a lock, so it imports
next to nothing itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from typing import Any

from pools.errors import PoolError

__all__ = ["library", "patch", "unpatched"]

RESOLVERS = 50
"""Native threads with which gevent resolves host names at once; its own default is 10."""

BLOCKING = {
    "select": ("select", "poll", "epoll"),
    "socket": ("socket", "getaddrinfo", "gethostbyname"),
    "ssl": ("SSLContext", "SSLSocket"),
    "subprocess": ("Popen",),
    "threading": ("Lock", "RLock"),
    "time": ("sleep",),
}
"""What a module must not have taken out of the standard library before that was made green.

Others, such as `threading.Event`, look up what they are built on when they are called.
"""

NEEDED = ("select", "socket", "ssl", "subprocess", "threading", "time", "os", "queue")
"""The modules that `unpatched` asks for."""


def library(pool: str) -> str | None:
    """Return whose monkey-patching a pool needs: ``"gevent"``, ``"eventlet"`` or None.

    Raises:
        PoolError: no pool has that name.
    """
    from pools.table import BUILTIN, load

    if pool in BUILTIN:  # known without an import
        return pool if pool in ("gevent", "eventlet") else None
    return load(pool).features.patches


def patch(pool: str) -> None:
    """Make the standard library green for a pool that needs that; do nothing for others.

    Call it first thing in the program.

    Raises:
        PoolError: it is too late, the other library has patched already, or the library is not installed.
    """
    chosen = library(pool)
    if chosen is None or not unpatched(pool):
        return
    patched = _patched_by()
    if patched not in (None, chosen):
        raise PoolError(
            f"{patched} has patched this process already, so the {pool} pool cannot: use {patched}"
        )
    if patched is None:
        _refuse_late(chosen)
    try:
        importlib.import_module(chosen)
    except ModuleNotFoundError as error:
        raise PoolError(
            f"the {pool} pool needs the package {chosen}, which is not installed: pip install {chosen}"
        ) from error
    if chosen == "gevent":
        _patch_gevent()
    else:
        importlib.import_module("eventlet").monkey_patch()
    from pools.loglocks import share_log_locks

    share_log_locks()  # native threads log too: those of brokers, of coroutines, of `native_call`
    missing = unpatched(pool)
    if missing:
        raise PoolError(f"{chosen} left these modules unpatched: {', '.join(missing)}")


def unpatched(pool: str) -> list[str]:
    """Name the standard library's modules that are not green though the pool needs it; empty is fine."""
    chosen = library(pool)
    if chosen is None:
        return []
    if chosen == "gevent":
        monkey = sys.modules.get("gevent.monkey")
        return [name for name in NEEDED if monkey is None or not monkey.is_module_patched(name)]
    patcher = sys.modules.get("eventlet.patcher")
    done = patcher.already_patched if patcher is not None else {}
    parts = {"threading": "thread", "queue": "thread", "ssl": "socket"}
    return [name for name in NEEDED if not done.get(parts.get(name, name))]


def _patched_by() -> str | None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.saved:
        return "gevent"
    patcher = sys.modules.get("eventlet.patcher")
    return "eventlet" if patcher is not None and patcher.already_patched else None


def _patch_gevent() -> None:
    from gevent import hub, monkey

    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        warnings.warn(
            "gevent turns the global interpreter lock back on: this free-threaded Python runs like an "
            "ordinary one",
            RuntimeWarning,
            stacklevel=3,
        )
    with warnings.catch_warnings():
        # It warns of any early import of ssl; `_refuse_late` has looked at whether that does harm.
        warnings.simplefilter("ignore", monkey.MonkeyPatchWarning)
        with _entry_points_read_once():
            monkey.patch_all()
    hub.Hub.threadpool_size = max(hub.Hub.threadpool_size, RESOLVERS)


@contextlib.contextmanager
def _entry_points_read_once() -> Iterator[None]:
    """Keep what the installed packages offer, which gevent asks for with each of the 25 things it patches.

    Each time it would read a file of every package: with 160 of them a tenth of a second at every start.
    """
    from importlib import metadata  # only now: it imports sockets

    ask = metadata.entry_points
    place = vars(metadata)
    place["entry_points"] = ask().select
    try:
        yield
    finally:
        place["entry_points"] = ask


def _refuse_late(chosen: str) -> None:
    """Refuse when something would stay blocking that was made or taken before."""
    threads = len(sys._current_frames())
    reasons = [f"{threads - 1} other threads are running"] if threads > 1 else []
    socket_type: Any = getattr(sys.modules.get("_socket"), "socket", None)
    if socket_type is not None:
        count = sum(isinstance(thing, socket_type) and thing.fileno() >= 0 for thing in gc.get_objects())
        if count:
            reasons.append(f"{count} sockets are open")
    reasons += _takers()
    if reasons:
        more = f", and {len(reasons) - 5} more" if len(reasons) > 5 else ""
        raise PoolError(
            f"too late to patch for {chosen}: {'; '.join(reasons[:5])}{more}. "
            f"Patch first thing in the program, before other imports"
        )


def _takers() -> Iterator[str]:
    """Modules outside the standard library that hold a blocking function or class of it under a name."""
    originals = {
        id(value): f"{module}.{name}"
        for module, names in BLOCKING.items()
        if module in sys.modules
        for name in names
        if (value := getattr(sys.modules[module], name, None)) is not None
    }
    # eventlet uses dns, whose copies it replaces itself.
    own = sys.stdlib_module_names | {"gevent", "eventlet", "dns", "greenlet", "pools", "__main__"}
    for name, module in list(sys.modules.items()):
        alias = getattr(module, "__name__", name) != name
        if alias or name.partition(".")[0] in own or name.startswith("__"):
            continue
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in originals:
                yield f"{name} has taken {originals[id(value)]} as {attribute}"
