"""Wake a gevent or eventlet hub from another native thread.

Neither library is imported here: where it was not imported yet, no thread can have a hub of it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["Doorbell", "current_hub", "current_world", "doorbell"]

_system = importlib.import_module(os.name)
"""posix: its functions stay blocking system calls, also where `os.read` was replaced by a green one."""


def current_hub() -> tuple[str, Any] | None:
    """Return the library and the hub that the calling thread waits through, or None if it has none.

    Where a thread has hubs of both libraries, the one that the running green thread belongs to counts.
    """
    local = sys.modules.get("gevent._hub_local")
    gevent_hub = local.get_hub_if_exists() if local is not None else None
    hubs = sys.modules.get("eventlet.hubs")
    eventlet_hub = getattr(hubs._threadlocal, "hub", None) if hubs is not None else None
    if gevent_hub is None or eventlet_hub is None:
        if gevent_hub is not None:
            return "gevent", gevent_hub
        return None if eventlet_hub is None else ("eventlet", eventlet_hub)
    ancestor = sys.modules["greenlet"].getcurrent().parent
    while ancestor is not None:
        if ancestor is eventlet_hub.greenlet:
            return "eventlet", eventlet_hub
        ancestor = ancestor.parent
    return "gevent", gevent_hub


def current_world() -> Any:
    """Return what tells apart threads that cannot share a socket: the calling thread's hub, or None."""
    if sys.modules.get("eventlet.hubs") is None:
        # Asked for every round trip, so without another call where gevent alone is in use.
        local = sys.modules.get("gevent._hub_local")
        return None if local is None else local.get_hub_if_exists()
    here = current_hub()
    return None if here is None else here[1]


class Doorbell:
    """Runs callbacks in an eventlet hub at the request of other native threads.

    Parameters:
        hub: the hub, which must belong to the calling thread.
    """

    def __init__(self, hub: Any) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._callbacks: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        hub.add(hub.READ, self._reader, self._answer, self._ignore, None)

    def ring(self, callback: Callable[..., object], *args: Any) -> None:
        """Have `callback` called in the hub soon; never blocks; from any native thread."""
        self._callbacks.append((callback, args))
        with suppress(BlockingIOError):  # the pipe is full: the hub has been woken long since
            _system.write(self._writer, b"!")

    def _answer(self, _fileno: int) -> None:
        with suppress(BlockingIOError):
            _system.read(self._reader, 65536)
        for _ in range(len(self._callbacks)):
            callback, args = self._callbacks.popleft()
            try:
                callback(*args)
            except Exception:
                sys.excepthook(*sys.exc_info())

    @staticmethod
    def _ignore(*_: Any) -> None:
        """The hub throws here when the descriptor is gone, which is at the end of the process."""


_doorbells: WeakKeyDictionary[Any, Doorbell] = WeakKeyDictionary()


def doorbell(hub: Any) -> Doorbell:
    """Return the doorbell of an eventlet hub of the calling thread, making it at its first use."""
    try:
        return _doorbells[hub]
    except KeyError:
        return _doorbells.setdefault(hub, Doorbell(hub))
