"""What the conformance tests work with."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from pools.base import Call, Pool
from pools.conformance.chores import Interruption, hold
from pools.native import Lock

__all__ = ["DEADLINE", "HushedDestructors", "Reports", "Workbench", "refuses", "until", "void"]

DEADLINE = 45.0
"""Seconds that anything may take on a busy machine."""


def until(pool: Pool, condition: Callable[[], object], seconds: float = DEADLINE) -> bool:
    """Let the pool work until the condition holds; False if it did not within so many seconds."""
    end = pool.now() + seconds
    while not condition():
        if pool.now() > end:
            return False
        pool.sleep(0.002)
    return True


class Reports:
    """A `done` that remembers which calls it was told of."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> None:
        assert call.finished
        with self._lock:
            self.calls.append(call)

    def __len__(self) -> int:
        return len(self.calls)


class Workbench(ABC):
    """The base of every group of tests."""

    inline: ClassVar[bool] = False
    """Set it where `spawn` itself runs the call: such a pool's capacity is always 1."""

    @abstractmethod
    def make(self, capacity: int) -> Pool:
        """Make a pool of the kind under test."""

    def room(self, wanted: int) -> int:
        """The nearest capacity to the wanted one that the pool can have."""
        return 1 if self.inline else wanted

    def launch(self, pool: Pool, fn: Callable[..., Any], *args: Any, done: Reports | None = None) -> Call:
        """Start a call that goes on for a while, and come back while it runs."""
        if not self.inline:
            return pool.spawn(fn, *args, done=done)
        tag = object()
        pool.service(lambda: void(pool.spawn(fn, *args, done=done, tag=tag)), "launch")
        assert until(pool, lambda: any(call.tag is tag for call in pool.calls()))
        return next(call for call in pool.calls() if call.tag is tag)

    def fill(self, pool: Pool, folder: Path, name: str = "gate") -> tuple[list[Call], Path]:
        """Have as many calls running as the pool has room for; they end when the returned file is made."""
        gate = folder / name
        before = len(list(folder.glob(f"{name}-started-*")))
        calls = []
        for number in range(before, before + pool.free):
            started = folder / f"{name}-started-{number}"
            calls.append(self.launch(pool, hold, str(gate), str(started)))
            assert until(pool, started.exists)
        return calls, gate


class HushedDestructors:
    """Say nothing of interruptions that hit a destructor: Python drops what is raised there, and says so."""

    def __enter__(self) -> None:
        self._before = sys.unraisablehook
        sys.unraisablehook = self._hook

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._before

    def _hook(self, dropped: Any) -> None:
        if not isinstance(dropped.exc_value, Interruption):
            self._before(dropped)


def void(_: object) -> None:
    """Drop a value."""


def refuses(act: Callable[[], object], kind: type[BaseException]) -> str:
    """Call it; return the message of the exception of that kind which it must raise."""
    try:
        act()
    except kind as error:
        return str(error) or repr(error)
    raise AssertionError(f"{kind.__name__} was not raised")
