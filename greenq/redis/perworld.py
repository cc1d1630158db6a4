"""What threads that cannot share a socket have one each of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

from pools import native
from pools.wakeup import current_world

__all__ = ["PerWorld"]

T = TypeVar("T")


class PerWorld(Generic[T]):
    """One of something for each world: for each gevent or eventlet hub, and for all native threads together.

    Parameters:
        make: makes one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = native.Lock()
        self._native: T | None = None
        self._green: WeakKeyDictionary[Any, T] = WeakKeyDictionary()
        self._last: tuple[ref[Any], T] | None = None
        """The hub that asked last, nearly always the only one, and what it has."""

    def here(self) -> T:
        """The calling thread's."""
        hub, last = current_world(), self._last
        if hub is None:
            # A last hub that is no more would look like none.
            if self._native is not None:
                return self._native
        elif last is not None and last[0]() is hub:
            return last[1]
        with self._lock:
            found = self._native if hub is None else self._green.get(hub)
            if found is None:
                found = self._make()
            if hub is None:
                self._native = found
            else:
                self._green[hub] = found
                self._last = ref(hub), found
        return found

    def all(self) -> list[T]:
        """Those of every world."""
        with self._lock:
            return [*([] if self._native is None else [self._native]), *self._green.values()]
