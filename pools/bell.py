"""Wake one waiter again and again, at fewer calls than a new signal for each wait."""

from __future__ import annotations

import sys
from typing import Any

from pools import native

__all__ = ["Bell"]


class Bell:
    """Rung by any thread, native or green; heard by one at a time, which waits as its own world waits.

    A ring that nobody waits for is heard by the next wait.
    """

    __slots__ = ("_far", "_home", "_lock", "_loop", "_near", "_resume", "_rung", "_signal")

    def __init__(self) -> None:
        self._rung = False
        self._lock = native.Lock()
        self._home = 0
        """The native thread of the gevent hub whose green thread waits; 0 if none does."""
        self._loop: Any = None
        self._resume: Any = None
        self._near: Any = None
        self._far: Any = None
        self._signal: native.Signal | None = None
        """What is waited for everywhere else."""

    def ring(self) -> None:
        """Let the waiter go on, now or as soon as it waits; never blocks."""
        with self._lock:
            if self._rung:
                return
            self._rung = True
            if self._home:
                if native.get_ident() == self._home:
                    # A busy hub looks at what other threads sent it only every so often.
                    self._near = self._loop.run_callback(self._resume)
                else:
                    self._far.send()
            elif self._signal is not None:
                self._signal.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a ring; True if it came."""
        loaded = sys.modules
        local = loaded.get("gevent._hub_local")
        if local is None or "eventlet.hubs" in loaded or "pools.taskcalls" in loaded:
            return self._wait_elsewhere(timeout)
        hub = local.get_hub_if_exists()
        if hub is None:
            return self._wait_elsewhere(timeout)
        loop = hub.loop
        resume = loaded["greenlet"].getcurrent().switch
        far, timer = loop.async_(), loop.timer(max(0.0, timeout))
        far.start(resume)
        timer.start(resume)
        with self._lock:
            rung = self._rung
            if not rung:
                self._loop, self._resume, self._far, self._home = loop, resume, far, native.get_ident()
        try:
            # Whatever else switches to a green thread is no ring: only the timer ends the wait besides.
            while not self._rung and timer.active:
                hub.switch()
        finally:
            with self._lock:  # which `ring` holds: nobody rings what is closed
                self._home, self._loop, self._resume, self._far = 0, None, None, None
                rung, self._rung = self._rung, False
                near, self._near = self._near, None
            if near is not None:
                near.stop()  # or it would switch to this green thread when that waits for something else
            for watcher in (far, timer):
                watcher.stop()
                watcher.close()
        return rung

    def _wait_elsewhere(self, timeout: float) -> bool:
        with self._lock:
            signal = self._signal = native.Signal()
            if self._rung:
                signal.set()
        try:
            signal.wait(max(0.0, timeout))
        finally:
            with self._lock:
                self._signal = None
                rung, self._rung = self._rung, False
        return rung
