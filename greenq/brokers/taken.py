"""What this process has taken from queues over one of kombu's transports and not settled yet.

Transports that keep nothing have forgotten these messages, so no error on the way may lose sight of one.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from greenq.brokers.channel import Channel, Found
from greenq.brokers.graveyard import Graveyard
from greenq.brokers.parking import Parking
from greenq.message import Delivery, Settlement, Verdict
from greenq.redis.envelope import due_of

__all__ = ["Look", "Taken"]

BUDGET = 0.25
"""Seconds that one look may take before others get their turn at the connection."""

Look = tuple[list[Delivery], bool, float | None]
"""What was taken; whether there is more to look at right now; and in how many seconds the next is due."""


class Taken:
    """The messages between fetch and settlement; belongs to the thread that owns the channel."""

    def __init__(self, channel: Channel, parking: Parking, graveyard: Graveyard) -> None:
        self._channel = channel
        self._parking = parking
        self._graveyard = graveyard
        self._id = os.urandom(8).hex()
        self._numbers = itertools.count(1)
        self.forget()

    def forget(self) -> None:
        """Begin with nothing: at first, and in a forked child, whose parent holds what it took."""
        self._held: dict[int, tuple[str, Found]] = {}
        self._settled: set[int] = set()
        self._unclaimed: list[Delivery] = []

    def __len__(self) -> int:
        return len(self._held)

    def by_queue(self) -> Counter[str]:
        """How many there are of each queue."""
        return Counter(queue for queue, _ in self._held.values())

    # ── taking ───────────────────────────────────────────────────────────────────────────────────────────

    def take(self, queues: Sequence[str], n: int) -> Look:
        """Take up to `n` messages, those first that an earlier call took and could not hand over."""
        taken = self._claim(queues, n)
        if taken:
            return taken, True, None
        try:
            return self._look(queues, n, taken)
        except BaseException:
            self._unclaimed += taken
            raise

    def _claim(self, queues: Sequence[str], n: int) -> list[Delivery]:
        claimed: list[Delivery] = []
        left: list[Delivery] = []
        for delivery in self._unclaimed:
            number = delivery.token[1]
            held = self._held.get(number)
            if held is None or not self._channel.is_ours(held[1]):
                self._held.pop(number, None)  # it went back to its queue, with the connection perhaps
            elif len(claimed) < n and delivery.queue in queues:
                claimed.append(delivery)
            else:
                left.append(delivery)
        self._unclaimed = left
        return claimed

    def _look(self, queues: Sequence[str], n: int, taken: list[Delivery]) -> Look:
        for queue in queues:
            self._channel.declare(queue)
        until = time.monotonic() + BUDGET  # from here: the first call connects, and may take longer
        for queue in queues:
            for found in self._parking.due(queue):
                taken.append(self._deliver(queue, found))
                if len(taken) == n:
                    return taken, True, None
            while len(taken) < n:
                if time.monotonic() >= until:
                    return taken, True, None
                found_next = self._channel.pull(queue)
                if found_next is None:
                    break
                due = None if found_next.message is None else due_of(found_next.message)
                if due is not None and due > time.time():
                    self._parking.park(queue, found_next, due)
                else:
                    taken.append(self._deliver(queue, found_next))
        busy = not taken and self._parking.look(queues, until)
        return taken, busy, self._parking.next_moment(queues)

    def _deliver(self, queue: str, found: Found) -> Delivery:
        number = next(self._numbers)
        self._held[number] = queue, found
        if found.message is not None:
            found.message.queue = queue
            # What the task's run does to its message must not show when the message is given back.
            message = dataclasses.replace(found.message, headers=dict(found.message.headers))
            return Delivery(message, queue, (self._id, number))
        return Delivery(None, queue, (self._id, number), problem=found.problem, raw=found.raw)

    def untake(self, deliveries: Iterable[Delivery]) -> None:
        """Give back what nobody waits for any more; what cannot be is the first of the next `take`."""
        waiting = list(deliveries)
        try:
            while waiting:
                self._settle_one(Settlement(waiting[0], Verdict.REQUEUE))
                del waiting[0]
        finally:
            self._unclaimed += waiting

    # ── settling ─────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Settle each; for each whether it was still ours."""
        done: list[bool] = []
        try:
            for settlement in settlements:
                done.append(self._settle_one(settlement))
        except BaseException:
            self.remember(settlements, done)
            raise
        return done

    def remember(self, settlements: Sequence[Settlement], done: Iterable[bool]) -> None:
        """Know again what was settled in a call that failed as a whole: it will be tried again."""
        self._settled.update(
            one.delivery.token[1] for one, ours in zip(settlements, done, strict=False) if ours
        )

    def _settle_one(self, settlement: Settlement) -> bool:
        token = settlement.delivery.token
        if type(token) is not tuple or len(token) != 2 or token[0] != self._id or type(token[1]) is not int:
            return False
        if token[1] in self._settled:
            self._settled.discard(token[1])
            return True
        if token[1] not in self._held:
            return False
        queue, found = self._held[token[1]]
        ours = self._channel.is_ours(found)
        if ours:
            self._finish(settlement, queue, found)
        del self._held[token[1]]
        return ours

    def _finish(self, settlement: Settlement, queue: str, found: Found) -> None:
        if settlement.verdict is Verdict.ACK:
            self._channel.ack(found)
        elif settlement.verdict is Verdict.DEAD:
            self._graveyard.add(queue, found, settlement.reason, settlement.trace)
        elif (
            settlement.verdict is Verdict.RETRY_AT
            and settlement.due is not None
            and found.message is not None
        ):
            self._parking.park(queue, found, settlement.due)
        else:
            self._channel.requeue(queue, found)

    def give_back(self) -> int:
        """Return everything to its queue, what waits here for its time included; how many were taken."""
        taken = list(self._held.items())
        self._unclaimed = []
        for number, (queue, found) in taken:
            if self._channel.is_ours(found):
                self._channel.requeue(queue, found)
            del self._held[number]
        self._parking.give_back()
        return len(taken)
