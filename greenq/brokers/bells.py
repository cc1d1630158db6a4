"""Those of this process who wait for messages: what is sent here need not be looked for."""

from __future__ import annotations

import os

from pools import native

__all__ = ["add", "remove", "ring"]

_signals: dict[str, set[native.Signal]] = {}
_lock = native.Lock()


def add(place: str, signal: native.Signal) -> None:
    """Have a signal set when something is sent to a place."""
    with _lock:
        _signals.setdefault(place, set()).add(signal)


def remove(place: str, signal: native.Signal) -> None:
    """Undo `add`."""
    with _lock:
        waiting = _signals.get(place, set())
        waiting.discard(signal)
        if not waiting:
            _signals.pop(place, None)


def ring(place: str) -> None:
    """Let those who wait at a place look again."""
    with _lock:
        for signal in _signals.get(place, ()):
            signal.set()


def _after_fork() -> None:
    global _lock
    _lock = native.Lock()
    _signals.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
