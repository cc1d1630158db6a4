"""A logical clock: orders events of several nodes, whatever their clocks of the wall say."""

from __future__ import annotations

from pools import native

__all__ = ["Clock"]

MOST = 2**53
"""No step takes it further: a stranger's number must not make ours one that JSON readers round."""


class Clock:
    """Lamport's clock; shared by all threads of a process.

    >>> clock = Clock()
    >>> clock.forward(), clock.adjust(10), clock.value
    (1, 11, 11)

    Source: Leslie Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System".
    """

    def __init__(self) -> None:
        self._lock = native.Lock()
        self.value = 0

    def forward(self) -> int:
        """Something has happened here: the time of it."""
        with self._lock:
            self.value += 1
            return self.value

    def adjust(self, other: object) -> int:
        """A message has come from a node where it was `other`; what is no number changes nothing."""
        with self._lock:
            if isinstance(other, int) and self.value < other < MOST:
                self.value = other
            self.value += 1
            return self.value
