"""Delays on brokers that have none: messages wait in a few queues of their own until their time is near.

A parked message sits in one of five queues by how far off its time is: up to 10 s, 80 s, 11 min, 85 min, or
more. Each queue is gone through twice in the shortest time that its messages have left, and what has come
nearer moves to the next; so a delay of any length costs a message a bounded number of moves, and none is
forgotten when a process dies. Those of the last 10 s are held in this process until their very moment.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator

from greenq.brokers.channel import Channel, Found

__all__ = ["NEAR", "Parking", "levels_of", "parent_of"]

BOUNDS = (10.0, 80.0, 640.0, 5120.0)
"""Seconds: level 0 holds what is due within the first, level 1 within the second, the last one the rest."""
LEVELS = range(len(BOUNDS) + 1)
NEAR = BOUNDS[0]
HELD_MOST = 10_000
"""Messages held in this process until their moment; more of them stay in level 0."""
DUE = "greenq_due"
"""Header of a parked message: seconds since the epoch."""
_INFIX = "-greenq-delayed-"


def levels_of(queue: str) -> list[str]:
    """The queues in which the delayed messages of a queue wait."""
    return [f"{queue}{_INFIX}{level}" for level in LEVELS]


def parent_of(name: str) -> str | None:
    """The queue whose delayed messages wait in the one of this name, or None if it is no such queue."""
    queue, infix, _ = name.rpartition(_INFIX)
    return queue if infix else None


def _period(level: int) -> float:
    """Seconds between two looks through a level."""
    return 1.0 if level == 0 else BOUNDS[level - 1] / 2


class Parking:
    """What waits for its time; belongs to the thread that owns the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count()
        self.forget()

    def forget(self) -> None:
        """Begin with nothing: at first, and in a forked child, whose parent holds what it held."""
        self._held: dict[str, list[tuple[float, int, Found]]] = {}
        self._looks: dict[tuple[str, int], float] = {}
        self._left: dict[tuple[str, int], int] = {}

    def park(self, queue: str, found: Found, due: float) -> None:
        """Keep a message that was taken from a queue until `due` (seconds since the epoch)."""
        remaining = due - time.time()
        if remaining <= NEAR and self.held() < HELD_MOST:
            self.hold(queue, found, due)
        else:
            try:
                self._move(queue, found, due, remaining)
            except BaseException:
                # Transports that keep nothing have forgotten it: it would be lost with the attempt.
                self.hold(queue, found, due)
                raise

    def hold(self, queue: str, found: Found, due: float) -> None:
        """Keep a message in this process until its moment."""
        heapq.heappush(self._held.setdefault(queue, []), (due, next(self._numbers), found))

    def send(self, queue: str, found: Found, due: float) -> None:
        """Publish a message that must not be seen before `due`."""
        assert found.message is not None
        level = levels_of(queue)[bisect_left(BOUNDS, due - time.time())]
        self._channel.declare(level, ours=True)
        self._channel.put(level, found.message, {DUE: due})

    def _move(self, queue: str, found: Found, due: float, remaining: float) -> None:
        self.send(queue, found, due)
        self._channel.ack(found)

    def due(self, queue: str) -> Iterator[Found]:
        """Those held messages of a queue whose moment has come; they are held no more."""
        heap = self._held.get(queue)
        while heap and heap[0][0] <= time.time():
            found = heapq.heappop(heap)[2]
            if self._channel.is_ours(found):  # or its queue has it back, and somebody else may run it
                yield found

    def next_moment(self, queues: Iterable[str]) -> float | None:
        """In how many seconds the next held message of these queues is due."""
        moments = [heap[0][0] for queue in queues if (heap := self._held.get(queue))]
        return max(0.0, min(moments) - time.time()) if moments else None

    def look(self, queues: Iterable[str], until: float) -> bool:
        """Go through the levels whose turn it is, up to the moment `until` (of `time.monotonic`).

        Returns:
            Whether there is more to look through.
        """
        now = time.monotonic()
        turns = [(q, level) for q in queues for level in LEVELS if now >= self._looks.get((q, level), 0.0)]
        there = set(self._channel.names()) if turns and self._channel.lists else None
        for queue, level in turns:
            name = levels_of(queue)[level]
            if (there is None or name in there) and not self._look_through(queue, level, name, until):
                return True
            self._looks[queue, level] = time.monotonic() + _period(level) * random.uniform(0.5, 1.0)
        return False

    def _look_through(self, queue: str, level: int, name: str, until: float) -> bool:
        key = queue, level
        self._channel.declare(name, ours=True)
        left = self._left.pop(key, None)
        left = self._channel.size(name) if left is None else left
        stack = self._channel.address.is_stack
        looked_at: deque[tuple[Found, float]] = deque()
        try:
            while left > 0:
                if time.monotonic() >= until and not stack:
                    self._left[key] = left
                    return False
                if level == 0 and self.held() >= HELD_MOST:
                    break
                found = self._channel.pull(name)
                if found is None:
                    break
                left -= 1
                looked_at.append((found, self._due_of(queue, found)))
                if not stack:
                    self.park(queue, *looked_at.popleft())
            while looked_at:
                self.park(queue, *looked_at.popleft())
        except BaseException:
            for found, due in looked_at:
                self.hold(queue, found, due)
            raise
        return True

    def _due_of(self, queue: str, found: Found) -> float:
        """When a message from a level is due; what hid it there is taken off."""
        if found.message is None:
            return 0.0
        found.message.queue = queue
        due = found.message.headers.pop(DUE, 0.0)
        return due if isinstance(due, (int, float)) else 0.0

    # ── upkeep ───────────────────────────────────────────────────────────────────────────────────────────

    def held(self, queue: str | None = None) -> int:
        """How many messages this process holds, of one queue or of all."""
        if queue is not None:
            return len(self._held.get(queue, ()))
        return sum(map(len, self._held.values()))

    def drop(self, queue: str) -> int:
        """Forget what waits for its time in a queue; how many it was."""
        dropped = self._held.pop(queue, [])
        for _, _, found in dropped:
            self._channel.ack(found)
        return len(dropped)

    def give_back(self) -> None:
        """Let others look after what this process holds."""
        held, self._held = self._held, {}
        for queue, heap in held.items():
            for due, _, found in heap:
                if found.message is not None and self._channel.is_ours(found):
                    self._move(queue, found, due, 0.0)
