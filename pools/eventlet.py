"""The eventlet pool: thousands of light green threads in one native thread.

eventlet is in maintenance: its authors ask users to move on. For programs that are built on it.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any, ClassVar, cast

import eventlet
from eventlet.hubs import get_hub
from greenlet import greenlet

from pools.base import Features
from pools.greenhub import Hub
from pools.greenpool import GreenPool
from pools.wakeup import doorbell

__all__ = ["EventletPool"]


class EventletPool(GreenPool):
    """Runs each call in a green thread of eventlet.

    Blocking code cooperates if it uses `eventlet.green`, or the standard library after eventlet's
    monkey-patching; the pool itself needs no patching. It belongs to the hub of the native thread that
    makes it.
    """

    name: ClassVar[str] = "eventlet"
    features: ClassVar[Features] = Features(interrupt=True, kill=True, patches="eventlet")

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        super().__init__(capacity, setup, _current_hub())


def _current_hub() -> Hub:
    hub = get_hub()
    call_later = hub.schedule_call_global

    def soon(fn: Callable[..., object], *args: Any) -> object:
        return cast("object", call_later(0, fn, *args))

    def later(seconds: float, fn: Callable[[], object], *, keep_alive: bool) -> Callable[[], object]:
        return cast("Callable[[], object]", call_later(seconds, fn).cancel)

    def park() -> object:
        hub.ensure_greenlet()
        return hub.greenlet.switch()

    return Hub(
        root=lambda: cast(greenlet, hub.greenlet),
        switch=hub.switch,
        park=park,
        soon=soon,
        never=methodcaller("cancel"),
        soon_from_outside=doorbell(hub).ring,
        later=later,
        start=eventlet.spawn,
        sleep=eventlet.sleep,
    )
