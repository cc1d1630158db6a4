"""One of the `worker.processes` places, whoever works in it."""

from __future__ import annotations

from greenq.worker.supervision.child import Child

__all__ = ["BACKOFF_MOST", "Place"]

SETTLED_AFTER = 10.0
"""Seconds that a worker must live; one that dies earlier is restarted more and more slowly."""
BACKOFF_FIRST, BACKOFF_MOST = 0.5, 30.0


class Place:
    """A worker, the successor that may be coming up beside it, and those that are ending.

    Parameters:
        index: its number, from 0.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.child: Child | None = None
        """Who works here."""
        self.successor: Child | None = None
        """Who will, as soon as it has come up."""
        self.leaving: list[Child] = []
        """Who did, and is ending."""
        self.start_at: float | None = 0.0
        """When the next one is started, if nobody works here; None if nobody shall any more."""
        self.came_up = False
        """Whether anybody ever came up here: then a failure is no mistake of the set-up."""
        self.failures = 0
        """How often in a row somebody has died here."""
        self.away_since: float | None = None
        """Since when nobody here could reach the broker, as far as starts have shown."""
        self.patience: float | None = None
        """`broker.patience` in seconds, as who came up here had it."""
        self.recycle_at = 0.0
        """When the next attempt to replace who wants to be recycled may be made."""

    def children(self) -> list[Child]:
        """All processes of this place that live."""
        return [child for child in (self.child, self.successor, *self.leaving) if child is not None]

    def remove(self, child: Child) -> bool:
        """One of them has ended; True if it was who worked here. Its successor then does, ready or not."""
        if child is self.child:
            self.hand_on()
            if self.child is not None:
                self.child.kill_at = None
            return True
        if child is self.successor:
            self.successor = None
        else:
            self.leaving.remove(child)
        return False

    def hand_on(self) -> Child | None:
        """Let the successor work here; who did so until now."""
        former, self.child, self.successor = self.child, self.successor, None
        return former

    def put_off(self, lived: float = 0.0, most: float = BACKOFF_MOST) -> float:
        """Another one has failed after `lived` seconds: how long to wait before the next, in seconds."""
        self.failures = 1 if lived > SETTLED_AFTER else self.failures + 1
        return min(BACKOFF_FIRST * 2 ** (self.failures - 2), most) if self.failures > 1 else 0.0
