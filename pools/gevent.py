"""The gevent pool: thousands of light green threads in one native thread."""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any, ClassVar

import gevent
from gevent.hub import get_hub
from greenlet import greenlet

from pools.base import Features
from pools.greenhub import Hub
from pools.greenpool import GreenPool

__all__ = ["GeventPool"]


class GeventPool(GreenPool):
    """Runs each call in a green thread of gevent.

    Blocking code cooperates if it uses gevent, or the standard library after gevent's monkey-patching; the
    pool itself needs no patching. It belongs to the hub of the native thread that makes it.
    """

    name: ClassVar[str] = "gevent"
    features: ClassVar[Features] = Features(interrupt=True, kill=True, patches="gevent")

    def __init__(self, capacity: int, setup: tuple[str, tuple[Any, ...]] | None = None) -> None:
        super().__init__(capacity, setup, _current_hub())


def _current_hub() -> Hub:
    hub: Any = get_hub()
    loop = hub.loop

    def later(seconds: float, fn: Callable[[], object], *, keep_alive: bool) -> Callable[[], object]:
        timer = loop.timer(seconds, ref=keep_alive)
        timer.start(fn)
        close: Callable[[], object] = timer.close
        return close

    def root() -> greenlet:
        running: greenlet = hub
        return running

    return Hub(
        root=root,
        switch=hub.switch,
        park=hub.switch,
        soon=loop.run_callback,
        never=methodcaller("stop"),
        soon_from_outside=loop.run_callback_threadsafe,
        later=later,
        start=gevent.spawn,
        sleep=gevent.sleep,
    )
