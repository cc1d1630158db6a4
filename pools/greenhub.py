"""What the green pools need of a green-thread library, and how they wait with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from greenlet import greenlet

from pools import native
from pools.base import Call, Service

__all__ = ["GreenService", "GreenWaiter", "Hub", "Later", "OutsideWaiter", "Ping"]


class Later(Protocol):
    """Has a function called in the hub after so many seconds, and returns what cancels that."""

    def __call__(self, seconds: float, fn: Callable[[], object], *, keep_alive: bool) -> Callable[[], object]:
        """`keep_alive`: whether a program that has nothing else to wait for waits for this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The event loop of one native thread.

    Parameters:
        root: returns the greenlet in which callbacks run; the parent of the pool's green threads.
        switch: suspends the running green thread.
        park: the same for a green thread of the pool; returns what it is later switched to with. None of its
            frames refers to the green thread, or that could not end once nobody else refers to it.
        soon: has a function called in the hub; from the hub's own native thread only.
        never: takes back what `soon` returned; harmless if it was called.
        soon_from_outside: the same from any native thread.
        later: see `Later`.
        start: starts an ordinary green thread of the library.
        sleep: the library's own.
    """

    root: Callable[[], greenlet]
    switch: Callable[[], object]
    park: Callable[[], object]
    soon: Callable[..., object]
    never: Callable[[Any], object]
    soon_from_outside: Callable[..., object]
    later: Later
    start: Callable[[Callable[[], None]], object]
    sleep: Callable[[float], object]


class GreenWaiter:
    """A green thread that waits for the pool; may be woken often, goes on once.

    Whoever makes one sets its attributes: one is made for nearly every call of a full pool, and a constructor
    would be a call of its own.

    Attributes:
        switch: that of its green thread.
        soon: see `Hub.soon`.
        woken: what `soon` returned as it was woken; None before.
    """

    __slots__ = ("soon", "switch", "woken")

    switch: Callable[..., object]
    soon: Callable[..., object]
    woken: Any

    def wake(self) -> None:
        """Let it go on; in the hub's native thread."""
        if self.woken is None:
            self.woken = self.soon(self.switch)


class OutsideWaiter:
    """A native thread, other than the hub's, that waits for the pool.

    Parameters:
        post: has `ask` called in the hub.
        ask: looks whether this waiter is served now, and calls `settle` if so.
        call: what it wants to spawn; None if it only wants to know of a free slot.
    """

    __slots__ = ("_answered", "_ask", "_post", "admitted", "call", "left")

    def __init__(
        self, post: Callable[..., object], ask: Callable[[OutsideWaiter], None], call: Call | None = None
    ) -> None:
        self._post = post
        self._ask = ask
        self._answered = native.Signal()
        self.call = call
        self.left = False
        self.admitted = False

    def wait(self, timeout: float | None) -> bool:
        """Wait up to `timeout` seconds until served; True if not refused and in time."""
        try:
            self._post(self._ask, self)
            self._answered.wait(timeout)
        finally:
            self.left = True
        return self.admitted

    def wake(self) -> None:
        """Have it looked at again."""
        self._post(self._ask, self)

    def settle(self, *, admitted: bool) -> None:
        """Let it go on."""
        self.admitted = admitted
        self._answered.set()


class Ping:
    """A question to the hub from another native thread: are you there?"""

    __slots__ = ("answered", "sent")

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.answered = native.Signal()


class GreenService(Service):
    """A background duty in a green thread of its own."""

    def __init__(self, hub: Hub, fn: Callable[[], None]) -> None:
        self._fn = fn
        self._error: BaseException | None = None
        self._ended = native.Signal()
        hub.start(self._run)

    def join(self, timeout: float | None = None) -> bool:
        return self._ended.wait(timeout)

    @property
    def error(self) -> BaseException | None:
        return self._error

    def _run(self) -> None:
        try:
            self._fn()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
