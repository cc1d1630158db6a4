"""How the command is, for probes and for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from greenq.worker.supervision.child import Child
from greenq.worker.supervision.place import Place

__all__ = ["is_live", "is_ready", "summary"]

WEDGED_AFTER = 30.0
"""Seconds beyond a hard limit, or after its SIGKILL, until a worker that is still there counts as wedged:
in that time the supervisor itself replaces it."""


def is_live(places: Sequence[Place]) -> tuple[bool, dict[str, Any]]:
    """Whether the command can help itself, and each of its processes.

    That somebody asks and is answered proves that the supervisor's loop turns.
    """
    now = time.monotonic()
    children = [(place, child) for place in places for child in place.children()]
    live = not any(_wedged(child, now) for _, child in children)
    return live, {"live": live, "workers": [_about(place, child, now) for place, child in children]}


def is_ready(places: Sequence[Place], stopping: bool) -> tuple[bool, dict[str, Any]]:
    """Whether at least one worker is up and reaches its broker.

    Parameters:
        stopping: the command ends; then it is not ready, whatever still runs.
    """
    up = [place.child for place in places if place.child is not None and place.child.came_up]
    reaching = sum(1 for child in up if child.page.ready and not child.stopping)
    ready = reaching > 0 and not stopping
    return ready, {
        "ready": ready,
        "workers": len(places),
        "up": len(up),
        "reaching_broker": reaching,
        "stopping": stopping,
    }


def summary(places: Sequence[Place]) -> str:
    """The same in a few words."""
    up = sum(1 for place in places if place.child is not None and place.child.came_up)
    leaving = sum(len(place.leaving) for place in places)
    return f"{up} of {len(places)} workers up" + (f", {leaving} leaving" if leaving else "")


def _about(place: Place, child: Child, now: float) -> dict[str, Any]:
    block = child.page.block
    return {
        "index": place.index,
        "pid": child.pid,
        "age": round(now - child.started, 1),
        "up": child.came_up,
        "reaching_broker": child.page.ready,
        "stopping": child.stopping,
        "wedged": _wedged(child, now),
        "blocked_by": None if block is None else {"task": block.name, "seconds": round(now - block.since, 1)},
    }


def _wedged(child: Child, now: float) -> bool:
    if child.killed_at is not None:
        return now > child.killed_at + WEDGED_AFTER
    block = child.page.block
    return block is not None and block.deadline > 0 and now > block.deadline + WEDGED_AFTER
