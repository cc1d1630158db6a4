"""Let native threads log in a process whose standard library is green.

In a patched process `logging` has green locks. When a native thread and a green one meet at one of them, each
needs the other's hub, and the process hangs or dies with an error of that hub. A native reentrant lock serves
both: it is held while a record is written and belongs to the whole native thread, so that its green threads
never wait for each other. (Two of them can be in one handler at a time only if it lets the hub run in the
middle of a record, as one that sends to a socket does.)
"""

from __future__ import annotations

import logging
import threading
from types import ModuleType
from typing import Any

from pools.native import current, original

__all__ = ["share_log_locks"]


def share_log_locks() -> None:
    """Give logging native locks, now and for handlers to come, if it has green ones.

    Call it before other threads log.
    """
    rlock = original("_thread", "RLock")
    if isinstance(logging._lock, rlock):  # type: ignore[attr-defined]
        return
    threads = ModuleType("threading")
    vars(threads).update(vars(threading), RLock=rlock, current_thread=_current_thread)
    logging.threading = threads  # type: ignore[attr-defined]
    _replace(logging, "_lock", rlock())
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler = reference()
        if handler is not None and handler.lock is not None:
            _replace(handler, "lock", rlock())


def _current_thread() -> Any:
    """The thread whose name a record gets; the green libraries' function takes green locks to find that."""
    return current() or threading.current_thread()


def _replace(owner: Any, name: str, lock: Any) -> None:
    with getattr(owner, name):  # or whoever holds it would release another than it took
        setattr(owner, name, lock)
