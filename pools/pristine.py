"""Private copies of standard library modules that monkey-patching cannot reach.

gevent and eventlet replace attributes of `socket`, `select`, `os`, `threading` and others in place, and an
asyncio event loop looks those up whenever it needs them. The copies here are run again from their source with
an import function of their own, which gives them the original primitives; the rest of asyncio (tasks,
futures, streams, locks, exceptions) is shared with the program, so that both fit together.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import select
import sys
import threading
import time
from collections.abc import Mapping
from importlib.abc import InspectLoader
from types import ModuleType
from typing import Any

from pools.native import original

__all__ = ["event_loop_modules"]


def overlay(module: ModuleType, changes: Mapping[str, Any]) -> ModuleType:
    """Return a module with the attributes of `module`, but for `changes`."""
    changed = ModuleType(module.__name__)
    vars(changed).update(vars(module), **changes)
    return changed


def rerun(name: str, replacements: Mapping[str, ModuleType]) -> ModuleType:
    """Run a module of the standard library again, under a private name.

    Parameters:
        name: the module, such as ``"asyncio.base_events"``.
        replacements: what it gets when it imports these modules, now or later.

    Returns:
        The private copy; the module that the program sees is left as it is.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not isinstance(spec.loader, InspectLoader):
        raise ImportError(f"the source of {name} cannot be found", name=name)
    code = spec.loader.get_code(name)
    if code is None:
        raise ImportError(f"the source of {name} cannot be read", name=name)
    private = ModuleType(f"{__name__}.{name}", f"A private copy of {name}.")
    private.__package__ = spec.parent
    private.__file__ = spec.origin
    names = dict(vars(builtins), __import__=_importer(replacements))
    vars(private)["__builtins__"] = names
    sys.modules[private.__name__] = private  # enum conversion in `socket` looks its module up there
    exec(code, vars(private))
    return private


def _importer(replacements: Mapping[str, ModuleType]) -> Any:
    def importer(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: tuple[str, ...] | None = (),
        level: int = 0,
    ) -> ModuleType:
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
        if module.__name__ in replacements:
            return replacements[module.__name__]
        inside = {
            leaf: replacements[f"{module.__name__}.{leaf}"]
            for leaf in fromlist or ()
            if f"{module.__name__}.{leaf}" in replacements
        }
        return overlay(module, inside) if inside else module

    return importer


def _original_os() -> ModuleType:
    """`os` with the system calls of `posix`, whose attributes neither library replaces."""
    posix = sys.modules["posix"]
    calls = {name: call for name, call in vars(posix).items() if callable(call) and name in vars(os)}
    return overlay(os, calls)


def _original_select() -> ModuleType:
    """`select` with what was taken out of it: gevent and eventlet remove `epoll` and the like."""
    found = {}
    for name in ("select", "poll", "epoll", "kqueue", "kevent", "devpoll"):
        with contextlib.suppress(AttributeError):
            found[name] = original("select", name)
    return overlay(select, found)


def event_loop_modules() -> dict[str, ModuleType]:
    """Build what an event loop stands on.

    Returns:
        By their usual names: private copies of `socket`, `selectors`, `subprocess`, of the modules of asyncio
        that hold its event loop, and of `os`, `select`, `time` and `threading` with the original primitives
        (threads apart: start those with `pools.native`).
    """
    modules = {
        "os": _original_os(),
        "select": _original_select(),
        "time": overlay(time, {"sleep": original("time", "sleep")}),
        "threading": overlay(
            threading,
            {
                "Lock": original("_thread", "allocate_lock"),
                "get_ident": original("_thread", "get_ident"),
            },
        ),
    }
    for name in (
        "selectors",
        "socket",
        "subprocess",
        "asyncio.base_events",
        "asyncio.selector_events",
        "asyncio.unix_events",
    ):
        modules[name] = rerun(name, modules)
    return modules
