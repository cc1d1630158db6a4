"""Exit codes of child processes, also where gevent's loop waits for every child of the process.

As soon as a program uses `gevent.subprocess` or a green `os.fork`, the loop of gevent's main hub answers each
SIGCHLD by waiting for any child, and so takes exit codes away from those who wait for their own. It tells
them to whoever watches process 0, which stands for all of them.
"""

from __future__ import annotations

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from pools.native import original
from pools.wakeup import current_hub

__all__ = ["exit_code", "listen", "notice_hub"]

REMEMBERED = 1000
"""How many exit codes that gevent took are kept for those who will ask."""

_hub: Any = None
_watcher: Any = None
_taken: OrderedDict[int, tuple[float, int]] = OrderedDict()
"""By process id: when gevent took the status, and the status."""


def notice_hub() -> None:
    """Remember the calling thread's hub if it is the one that waits for children."""
    global _hub
    if _hub is None and "gevent" in sys.modules:
        library, hub = current_hub() or ("", None)
        if hub is not None and library == "gevent" and hub.loop.default:
            _hub = hub


def listen(ready: Callable[[], object]) -> bool:
    """Hear from now on which statuses gevent's loop takes.

    Parameters:
        ready: called in gevent's thread once that is so.

    Returns:
        False if nothing is needed, and `ready` is not called.
    """
    if _hub is None or _watcher is not None:
        return False

    def start() -> None:
        global _watcher
        if _watcher is None:
            _watcher = _hub.loop.child(0, ref=False)
            _watcher.start(_remember, _watcher)
        ready()

    _hub.loop.run_callback_threadsafe(start)
    return True


def _remember(watcher: Any) -> None:
    _taken[watcher.rpid] = time.monotonic(), watcher.rstatus
    while len(_taken) > REMEMBERED:
        _taken.popitem(last=False)


def exit_code(pid: int, since: float) -> int | None:
    """Return the exit code of a child that has ended, as `subprocess` has it, and let its id go.

    Parameters:
        pid: the child.
        since: `time.monotonic()` before it was started: an older status belongs to another of that id.

    Returns:
        None if something else waited for it and has not told (yet).
    """
    try:
        return os.waitstatus_to_exitcode(original("os", "waitpid")(pid, 0)[1])
    except ChildProcessError:
        when, status = _taken.pop(pid, (0.0, 0))
        return os.waitstatus_to_exitcode(status) if when >= since else None


def _after_fork() -> None:
    global _hub, _watcher
    _hub = _watcher = None
    _taken.clear()


os.register_at_fork(after_in_child=_after_fork)
