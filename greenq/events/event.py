"""One event: its fields, its key, and its bytes.

Source: celery/events/event.py, celery/events/dispatcher.py and the manual's "Event Reference".
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from typing import Any

from greenq.events.clock import Clock
from greenq.radio import Post

__all__ = ["Event", "EventMaker", "posts_of", "software"]

Event = dict[str, Any]

TOGETHER = 100
"""Events of tasks that are said as one message."""


def software() -> dict[str, str]:
    """What is told of the software of a node."""
    from greenq import __version__

    return {"sw_ident": "greenq", "sw_ver": __version__, "sw_sys": platform.system()}


class EventMaker:
    """Makes the events of one node.

    Parameters:
        node: its name.
        clock: of its process.
    """

    def __init__(self, node: str, clock: Clock) -> None:
        self.node = node
        self._clock = clock
        self._pid = os.getpid()

    def make(self, type: str, **fields: Any) -> Event:
        """An event that happens now.

        Parameters:
            type: such as ``"task-started"``.
        """
        return {
            "hostname": self.node, "utcoffset": utc_offset(), "pid": self._pid,
            "clock": self._clock.forward(), **fields, "timestamp": time.time(), "type": type,
        }  # fmt: skip


def utc_offset() -> float:
    """Hours that the local time is behind UTC, as Celery's events say it."""
    local = time.localtime()
    return -(local.tm_gmtoff or 0) / 3600


def posts_of(events: Sequence[Event], exchange: str) -> list[Post]:
    """The messages that say these events: one each for workers', one for many tasks'."""
    posts: list[Post] = []
    some: list[Event] = []

    def flush() -> None:
        if some:
            key = some[0]["type"].replace("-", ".", 1) if len(some) == 1 else "task.multi"
            posts.append(_post(some[0] if len(some) == 1 else some, some[0]["hostname"], exchange, key))
            some.clear()

    for event in events:
        if event["type"].startswith("task-"):
            some.append(event)
            if len(some) >= TOGETHER:
                flush()
        else:
            flush()
            posts.append(_post(event, event["hostname"], exchange, event["type"].replace("-", ".")))
    flush()
    return posts


def _post(body: object, node: str, exchange: str, key: str) -> Post:
    return Post(exchange, key, json.dumps(body, default=repr).encode(), {"hostname": node})
