"""Crashes at named places of a message's way, injected from outside: greenq knows nothing of them.

A failpoint is armed by a file that names it. The process that reaches it takes the file away, so that it
strikes once, and kills itself at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from greenq.amqp.transport import Transport
from greenq.redis.link import Link
from greenq.sqlite.session import Session
from greenq.worker.worker import Worker
from pools import native
from tests.chaos.ledger import Ledger, main_process

__all__ = ["FUSED", "SEPARATE", "arm", "install", "reach", "struck"]

FUSED = ("popped", "leased", "started", "committing", "commit sent", "committed")
"""Where broker and result store are one server: all that a task leaves goes in one step, which is crashed
before, in its middle, and after it."""
SEPARATE = ("popped", "leased", "started", "children published", "result stored", "settled")
"""Where it goes step by step."""
SENT = 0.25
"""Seconds between a command's way out and the crash: by then the server has carried it out."""

_armed = Path(os.environ.get("CHAOS_FAILPOINT", os.devnull))
_ledger: Ledger | None = None


def arm(path: Path, name: str) -> None:
    """Let the next process that comes to `name` crash there."""
    written = path.with_suffix(".new")
    written.write_text(name)
    written.rename(path)


def struck(path: Path) -> bool:
    """Whether it has."""
    return not path.exists()


def reach(name: str) -> None:
    """Crash here, if this is the place and nobody was there before."""
    if _ledger is not None and _is_armed(name):
        taken = _armed.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            _armed.rename(taken)
            _ledger.fault("kill", main_process())
            # Of an isolated pool the process that owns the broker is meant, not the child that runs the task.
            os.kill(main_process(), signal.SIGKILL)
            time.sleep(60)


def _is_armed(name: str) -> bool:
    try:
        return _armed.read_text() == name
    except (FileNotFoundError, NotADirectoryError):
        return False


def install(ledger: Ledger) -> None:
    """Lay the failpoints around each worker of this process, if any may be armed."""
    global _ledger
    if "CHAOS_FAILPOINT" not in os.environ:
        return
    _ledger = ledger
    _mine_sqlite()
    start = Worker.start

    def mined(self: Worker) -> None:
        _mine(self._broker, self._store)
        start(self)

    Worker.start = mined  # type: ignore[method-assign]


def _mine(broker: Any, store: Any) -> None:
    broker.fetch = _fetching(broker.fetch)
    broker.settle = _after(broker.settle, "settled")
    broker.publish = _after(broker.publish, "children published")
    if store is not None:
        store.put = _after(store.put, "result stored")
        store.commit = _committing(store.commit)
    _mine_redis()
    _mine_amqp()


def _fetching(fetch: Callable[..., Any]) -> Callable[..., Any]:
    def fetched(queues: Sequence[str], n: int, timeout: float) -> Any:
        deliveries = fetch(queues, n, timeout)
        if deliveries:
            reach("leased")
        return deliveries

    return fetched


def _after(step: Callable[..., Any], name: str) -> Callable[..., Any]:
    def taken(*args: Any) -> Any:
        done = step(*args)
        reach(name)
        return done

    return taken


def _committing(commit: Callable[..., Any]) -> Callable[..., Any]:
    def committed(*args: Any) -> Any:
        reach("committing")
        done = commit(*args)
        if done is not None:
            reach("committed")
        return done

    return committed


def _mine_redis() -> None:
    """Crash before a reply is read or looked at: the server has done its part."""
    exchange = Link.exchange

    def exchanged(self: Link, data: bytes, count: int, deadline: float, sure: bool = False) -> list[Any]:
        if b"celery-task-meta-" in data and _is_armed("commit sent"):
            self.send(data, deadline)
            native.original("time", "sleep")(SENT)
            reach("commit sent")
        replies = exchange(self, data, count, deadline, sure)
        if _is_armed("popped") and any(type(r) is list and b"chaos." in repr(r).encode() for r in replies):
            reach("popped")
        return replies

    Link.exchange = exchanged  # type: ignore[method-assign]


def _mine_amqp() -> None:
    """Crash as messages arrive: the server takes them for delivered."""
    receiving = Transport.recv

    def received(self: Transport) -> bytes | None:
        data = receiving(self)
        if data and b"chaos." in data:
            reach("popped")
        return data

    Transport.recv = received  # type: ignore[method-assign]


def _mine_sqlite() -> None:
    """Crash in the middle of a transaction."""
    making = Session.__init__

    def made(self: Session, *args: Any) -> None:
        making(self, *args)
        place = ""

        def traced(statement: str) -> None:
            nonlocal place
            if place:
                reach(place)
            place = ""
            if statement.startswith("INSERT INTO leased"):
                place = "popped"
            elif statement.startswith("DELETE FROM leased") and "json_each" in statement:
                place = "commit sent"

        self.connection.set_trace_callback(traced)

    Session.__init__ = made  # type: ignore[method-assign]
