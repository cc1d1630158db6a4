"""What memory brokers of one name share: queues, delays, leases and dead letters of this process."""

from __future__ import annotations

import heapq
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from greenq.message import DeadLetter, Delivery, Depth, Message, Settlement, Verdict
from greenq.sqlite.envelope import Unreadable, pack, unpack
from pools import native

__all__ = ["Place", "Space", "space"]


class Place:
    """One message and where it stands; kept packed, so that nobody's later change reaches it."""

    __slots__ = ("attempts", "body", "due", "envelope", "id", "queue", "rank")

    def __init__(self, queue: str, rank: int, due: float | None, envelope: bytes, body: bytes) -> None:
        self.id = 0
        self.queue = queue
        self.rank = rank
        self.due = due
        self.envelope = envelope
        self.body = body
        self.attempts = 0

    @classmethod
    def of(cls, message: Message) -> Place:
        """Pack a message.

        Raises:
            PublishError: it cannot be kept.
        """
        return cls(message.queue, -message.priority, message.due, pack(message), message.body)

    def message(self) -> Message:
        """Unpack it.

        Raises:
            Unreadable: it cannot be read.
        """
        return unpack(self.queue, self.rank, self.envelope, self.body)

    def is_of(self, id: str) -> bool:
        """Whether it belongs to the task of that id."""
        try:
            return self.message().headers.get("id") == id
        except Unreadable:
            return False

    def delivery(self, process: str, fence: int) -> Delivery:
        """Make a delivery of it, or one with a problem if it cannot be read."""
        token = (process, self.id, fence)
        try:
            message = unpack(self.queue, self.rank, self.envelope, self.body)
            return Delivery(message, self.queue, token, self.attempts)
        except Unreadable as problem:
            return Delivery(None, self.queue, token, self.attempts, str(problem), self.envelope)


class Space:
    """The shared state; `lock` guards all of it and is held for a few steps at a time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with nothing: at first, and in a forked child, whose parent keeps the messages."""
        self.lock = native.Lock()
        self._ids = itertools.count(1)
        self._last = 0
        self._fences = itertools.count(1)
        self._ready: dict[str, list[tuple[int, int, int, Place]]] = {}
        self._delayed: list[tuple[float, int, Place]] = []
        self._leased: dict[str, dict[int, tuple[int, Place]]] = {}
        self._until: dict[str, float] = {}
        self._dead: dict[str, tuple[Place, str, float, str | None]] = {}
        self._keys = itertools.count(1)
        self._signals: set[native.Signal] = set()

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────

    def put(self, places: Iterable[Place]) -> None:
        """Take in new messages."""
        with self.lock:
            self.add(places)

    def add(self, places: Iterable[Place]) -> None:
        """Take in new messages; the lock is held."""
        now = time.time()
        for place in places:
            self._ready.setdefault(place.queue, [])
            place.id = self._last = next(self._ids)
            if place.due is not None and place.due > now:
                self._delay(place, place.due)
            else:
                self._make_ready(place, place.id)

    def take(
        self, process: str, seconds: float, queues: Sequence[str], n: int, signal: native.Signal | None
    ) -> tuple[list[tuple[Place, int]], float | None]:
        """Lease up to `n` messages, or have `signal` set when there may be some.

        Returns:
            The messages with their fences, and in how many seconds the next delayed one is due.
        """
        taken: list[tuple[Place, int]] = []
        with self.lock:
            now = time.time()
            while self._delayed and self._delayed[0][0] <= now:
                place = heapq.heappop(self._delayed)[2]
                self._make_ready(place, self._last)
            if self._until.get(process, 0.0) <= time.monotonic():
                self._until[process] = time.monotonic() + seconds
            held = self._leased.setdefault(process, {})
            for queue in dict.fromkeys(queues):
                heap = self._ready.get(queue, [])
                while heap and len(taken) < n:
                    place, fence = heapq.heappop(heap)[3], next(self._fences)
                    held[place.id] = fence, place
                    taken.append((place, fence))
            if not taken and signal is not None:
                self._signals.add(signal)
            return taken, self._delayed[0][0] - now if self._delayed else None

    def stop_waiting(self, signal: native.Signal) -> None:
        """Undo what `take` did with the signal."""
        with self.lock:
            self._signals.discard(signal)

    def holds(self, token: Any) -> bool:
        """Whether that delivery is still leased; the lock is held."""
        if not (type(token) is tuple and len(token) == 3 and type(token[0]) is str):
            return False
        process, id, fence = token
        held = self._leased.get(process, {}).get(id)
        return held is not None and held[0] == fence

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases; the lock is held."""
        return [self.end(settlement) for settlement in settlements]

    def end(self, settlement: Settlement) -> bool:
        """End one lease, False if it was lost; the lock is held."""
        token = settlement.delivery.token
        if type(token) is not tuple or len(token) != 3 or type(token[0]) is not str:
            return False
        process, id, fence = token
        leased = self._leased.get(process, {})
        held = leased.get(id)
        if held is None or held[0] != fence:
            return False
        place = leased.pop(id)[1]
        # As it was fetched: what a charge added meanwhile is forgotten.
        place.attempts = settlement.delivery.attempts or place.attempts
        if settlement.verdict is Verdict.RETRY_AT:
            assert settlement.due is not None
            self._delay(place, settlement.due)
        elif settlement.verdict is Verdict.DEAD:
            self._dead[str(next(self._keys))] = place, settlement.reason or "", time.time(), settlement.trace
        elif settlement.verdict is not Verdict.ACK:
            self._make_ready(place, 0)
        return True

    def _make_ready(self, place: Place, position: int) -> None:
        heapq.heappush(self._ready[place.queue], (place.rank, position, place.id, place))
        self._ring()

    def _delay(self, place: Place, due: float) -> None:
        heapq.heappush(self._delayed, (due, place.id, place))
        self._ring()

    def _ring(self) -> None:
        for signal in self._signals:
            signal.set()
        self._signals.clear()

    # ── processes ────────────────────────────────────────────────────────────────────────────────────────

    def enter(self, process: str, seconds: float) -> None:
        """Begin a process's lease, or begin it anew."""
        with self.lock:
            self._until[process] = time.monotonic() + seconds

    def leave(self, process: str, charge: bool) -> int:
        """Forget a process and give back what it held; how many messages it was."""
        with self.lock:
            return self._leave(process, charge)

    def reap(self, but: str | None) -> int:
        """Forget the processes whose lease ran out, and give back what they held."""
        with self.lock:
            now = time.monotonic()
            expired = [name for name, until in self._until.items() if until <= now and name != but]
            return sum(self._leave(name, True) for name in expired)

    def _leave(self, process: str, charge: bool) -> int:
        self._until.pop(process, None)
        held = self._leased.pop(process, {})
        for _, place in held.values():
            place.attempts = max(place.attempts, int(charge))
            self._make_ready(place, 0)
        return len(held)

    def charge(self, deliveries: Sequence[Delivery], more: int) -> list[bool]:
        """Let a death be counted against deliveries, `more` beyond those that they had."""
        with self.lock:
            held = [self.holds(one.token) for one in deliveries]
            for one, ours in zip(deliveries, held, strict=True):
                if ours:
                    self._leased[one.token[0]][one.token[1]][1].attempts = one.attempts + more
            return held

    def take_over(self, process: str, id: str, own: str) -> list[tuple[Place, int]]:
        """Lease what one process holds of a task to another; the messages with their fences."""
        with self.lock:
            held = self._leased.get(process, {})
            if process == own:
                return []
            places = [place for _, place in held.values() if place.is_of(id)]
            taken = [(place, next(self._fences)) for place in places]
            for place, fence in taken:
                del held[place.id]
                self._leased.setdefault(own, {})[place.id] = fence, place
            return taken

    # ── upkeep ───────────────────────────────────────────────────────────────────────────────────────────

    def declare(self, queues: Iterable[str]) -> None:
        """Make queues known."""
        with self.lock:
            for queue in queues:
                self._ready.setdefault(queue, [])

    def depth(self) -> dict[str, Depth]:
        """Count every known queue's messages by state; a delayed one whose time has come counts as ready."""
        with self.lock:
            now = time.time()
            ready = {queue: Counter(-entry[0] for entry in heap) for queue, heap in self._ready.items()}
            delayed: Counter[str] = Counter()
            for due, _, place in self._delayed:
                if due > now:
                    delayed[place.queue] += 1
                else:
                    ready[place.queue][-place.rank] += 1
            leased = Counter(place.queue for held in self._leased.values() for _, place in held.values())
            dead = Counter(place.queue for place, *_ in self._dead.values())
        return {
            queue: Depth(counts.total(), delayed[queue], leased[queue], dead[queue], by_priority=dict(counts))
            for queue, counts in sorted(ready.items())
        }

    def purge(self, queue: str) -> int:
        """Drop what waits in a queue."""
        with self.lock:
            dropped = len(self._ready.get(queue, ()))
            if dropped:
                self._ready[queue] = []
            kept = [entry for entry in self._delayed if entry[2].queue != queue]
            dropped += len(self._delayed) - len(kept)
            heapq.heapify(kept)
            self._delayed = kept
        return dropped

    def letters(self, queue: str | None, limit: int) -> list[DeadLetter]:
        """The newest dead letters, of one queue or of all."""
        with self.lock:
            found = [(k, *v) for k, v in reversed(self._dead.items()) if queue is None or v[0].queue == queue]
        letters = []
        for key, place, reason, died, trace in found[:limit]:
            try:
                message, raw = place.message(), b""
            except Unreadable:
                message, raw = None, place.envelope
            letters.append(DeadLetter(key, place.queue, reason, died, message, raw, trace))
        return letters

    def replay(self, key: str) -> bool:
        """Put a dead letter at the end of its queue; False if it is not there."""
        with self.lock:
            if key not in self._dead:
                return False
            place = self._dead.pop(key)[0]
            place.attempts = 0
            self._make_ready(place, self._last)
            return True

    def bury(self, queue: str | None) -> int:
        """Drop the dead letters of one queue or of all."""
        with self.lock:
            gone = [key for key, (place, *_) in self._dead.items() if queue is None or place.queue == queue]
            for key in gone:
                del self._dead[key]
            return len(gone)


_spaces: dict[str, Space] = {}
_lock = native.Lock()


def space(name: str) -> Space:
    """Return this process's space of that name."""
    with _lock:
        return _spaces.setdefault(name, Space())


def _after_fork() -> None:
    global _lock
    _lock = native.Lock()
    for one in _spaces.values():
        one.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
