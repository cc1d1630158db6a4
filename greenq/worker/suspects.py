"""Messages that were in flight when their process died: tried apart from the others, so that who kills
processes is found, and nobody else pays for it.

They are tried in groups, an eighth of those that wait at once and one by one where eight or fewer do. A group
that still runs after a second makes room for the next. A death is charged to the group that was started
last; whoever was charged is tried in a smaller group the next time, and on the last chance alone. So of a
thousand that run long, who kills at its start is found within some ten seconds for each death that it has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from greenq.brokers.base import Broker
from greenq.errors import DecodeError, GreenqError
from greenq.message import READY_STATES, Delivery, Outcome, Result, Settlement, Verdict
from greenq.results.base import ResultStore
from greenq.worker.endings import Endings
from greenq.worker.reruns import Reruns
from greenq.worker.settler import Settler
from pools.base import Call, Pool
from pools.errors import PoolClosed

__all__ = ["Suspects"]

log = logging.getLogger("greenq.suspects")

TRIAL = 1.0
"""Seconds that a group is given before the next one starts beside it: what kills its process mostly does so
at once, and those that wait behind one which runs for hours must not wait for hours."""
GROUPS = 8
"""Into how many groups those that wait are split: all are tried within so many seconds."""
SLOT_WAIT = 1.0
IDLE = 5.0
LOOK = 0.25
"""Seconds between looks for the end of what runs here already."""
AWAY_FIRST, AWAY_MOST = 0.1, 2.0
"""Seconds between attempts while broker or store is away: doubled each time, up to the most."""

Begin = Callable[[Sequence[Delivery], Callable[[Call], None]], list[Delivery]]


class Group:
    """Suspects that were started together.

    Attributes:
        alive: those that still run, by the identity of the delivery.
        charged: whether the next death is counted against them.
        alone: no other suspect may run beside it.
    """

    __slots__ = ("alive", "alone", "charged", "started")

    def __init__(self, deliveries: Sequence[Delivery], alone: bool) -> None:
        self.alive = {id(delivery): delivery for delivery in deliveries}
        self.alone = alone
        self.charged = True
        self.started = time.monotonic()


class Suspects:
    """Tries them, in a service of its own: normal deliveries never wait for a suspect.

    Parameters:
        store: may know that one has ended already; None if no results are kept.
        begin: starts deliveries, tells the given function of each one's end, and returns those that it
            started; raises before it has started any, or else has taken care of the others.
        max_deliveries: with so many deaths a message is given up.
        timeout: seconds that one question to broker or store may take.
    """

    def __init__(
        self,
        broker: Broker,
        store: ResultStore | None,
        pool: Pool,
        settler: Settler,
        endings: Endings,
        reruns: Reruns,
        begin: Begin,
        max_deliveries: int,
        timeout: float,
    ) -> None:
        self._broker = broker
        self._store = store
        self._pool = pool
        self._settler = settler
        self._endings = endings
        self._reruns = reruns
        self._begin = begin
        self._max = max_deliveries
        self._timeout = timeout
        self._arrived: deque[Delivery] = deque()
        self._waiting: dict[int, deque[Delivery]] = {}
        self._sizes: dict[int, int] = {}
        self._groups: list[Group] = []
        self._stopping = False
        self._wake = threading.Event()
        self.quiet = threading.Event()
        """Set once it starts nothing any more and has given back what waited."""
        reruns.on_refused = self._wake.set

    def __len__(self) -> int:
        """How many wait for their trial, or for the end of their first run."""
        return len(self._arrived) + sum(map(len, list(self._waiting.values()))) + len(self._reruns)

    def add(self, delivery: Delivery) -> None:
        """Hand over one that was fetched."""
        self._arrived.append(delivery)
        self._wake.set()

    def stop(self) -> None:
        """Start nothing more; what waits is given back, what runs goes on."""
        self._stopping = True
        self._wake.set()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Try suspects until `stop`, and give back the others: the service."""
        away = AWAY_FIRST
        try:
            # Those whose first run is under way keep their lease, so that its end can be committed.
            while not self._stopping or len(self._reruns):
                self._wake.clear()
                try:
                    pause = self._turn()
                    away = AWAY_FIRST
                except PoolClosed:
                    break
                except GreenqError as error:
                    log.warning("no suspect can be tried, next attempt in %.2g s: %s", away, error)
                    pause, away = away, min(away * 2, AWAY_MOST)
                if pause > 0:
                    self._wake.wait(pause)
        finally:
            self._give_back()
            self.quiet.set()

    def _turn(self) -> float:
        """One step; in how many seconds the next one is due."""
        self._take_in()
        if self._stopping:
            self._give_back()
            return LOOK
        self._end_exhausted()
        self._groups = [group for group in self._groups if group.alive]
        self._accuse()
        newest = self._groups[-1] if self._groups else None
        pause = LOOK if len(self._reruns) else IDLE
        if newest is not None and newest.alone:
            return pause
        if newest is not None and (left := newest.started + TRIAL - time.monotonic()) > 0:
            return min(left, pause)
        attempts = self._next_level()
        if attempts is None:
            return pause
        free = self._pool.wait_free(SLOT_WAIT)
        if free:
            self._try(attempts, free)
        return 0.0

    def _take_in(self) -> None:
        """Sort what has come by how many deaths are counted against it."""
        arrived = [self._arrived.popleft() for _ in range(len(self._arrived))]
        if arrived:
            log.warning("%d messages were in flight as their process died; they are suspect", len(arrived))
        for delivery in [*self._reruns.look(), *self._reruns.sort_out(arrived)]:
            self._waiting.setdefault(delivery.attempts, deque()).append(delivery)

    def _end_exhausted(self) -> None:
        """Give up those that had their last chance."""
        for attempts, queue in self._waiting.items():
            while attempts >= self._max and queue:
                for delivery in self._not_ended([queue[0]]):
                    self._settler.add(self._endings.exhausted(delivery))
                queue.popleft()
        # Counts that a stranger wrote into a header may be many.
        self._waiting = {attempts: queue for attempts, queue in self._waiting.items() if queue}

    def _next_level(self) -> int | None:
        """Who is tried next: the most suspect, but the last chance only when no other suspect runs."""
        last = self._max - 1
        waiting = [attempts for attempts, queue in self._waiting.items() if queue and attempts < self._max]
        others = [attempts for attempts in waiting if attempts != last]
        if others:
            return max(others)
        return last if waiting and not self._groups else None

    def _try(self, attempts: int, free: int) -> None:
        """Start the next group of those with so many deaths."""
        alone = attempts == self._max - 1
        queue = self._waiting[attempts]
        # As large as when it began with them: or the groups became smaller and smaller.
        size = 1 if alone else max(self._sizes.get(attempts, 0), -(-len(queue) // GROUPS))
        chosen = [queue.popleft() for _ in range(min(size, free, len(queue)))]
        self._sizes[attempts] = size if queue else 0
        chosen = self._reruns.sort_out(chosen)
        try:
            chosen = self._not_ended(chosen)
            held = self._broker.charge(chosen, self._timeout)
            chosen = [delivery for delivery, ours in zip(chosen, held, strict=True) if ours]
            self._start(Group(chosen, alone), chosen)
        except GreenqError:
            queue.extendleft(reversed(chosen))
            self._waiting[attempts] = queue
            raise

    def _start(self, group: Group, deliveries: Sequence[Delivery]) -> None:
        self._groups.append(group)
        started = set()
        try:
            started = {id(delivery) for delivery in self._begin(deliveries, partial(self._ended, group))}
        finally:
            for delivery in deliveries:
                if id(delivery) not in started:
                    group.alive.pop(id(delivery), None)

    def _ended(self, group: Group, call: Call) -> None:
        group.alive.pop(id(call.args[0]), None)
        self._wake.set()

    # ── whom a death is charged to ───────────────────────────────────────────────────────────────────────

    def _accuse(self) -> None:
        """Count the next death against the group that was started last of those that run, and no other."""
        for group in reversed(self._groups):
            charged = group is self._groups[-1]
            if group.charged is not charged:
                self._broker.charge(list(group.alive.values()), self._timeout, withdraw=not charged)
                group.charged = charged

    # ── who is not tried ─────────────────────────────────────────────────────────────────────────────────

    def _not_ended(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Those whose end is not recorded; the others are acknowledged.

        Their process died between the result and the acknowledgement, or somebody recorded the end for it.
        """
        if self._store is None or not deliveries:
            return list(deliveries)
        ids = [_id(delivery) for delivery in deliveries]
        ended = self._recorded(self._store, sorted({id for id in ids if id is not None}))
        others = []
        for delivery, id in zip(deliveries, ids, strict=True):
            if id is not None and id in ended:
                log.warning("%a is not run again: its end is recorded already", id)
                outcome = Outcome(delivery, settlement=Settlement(delivery, Verdict.ACK))
                self._endings.follow_recorded(outcome, ended[id])
                self._settler.add(outcome)
            else:
                others.append(delivery)
        return others

    def _recorded(self, store: ResultStore, ids: Sequence[str]) -> dict[str, Result]:
        """The ends of those tasks that the store has."""
        if not ids:
            return {}
        try:
            found = store.get(ids, self._timeout)
        except DecodeError:
            # Somebody else's record: it says nothing about the others.
            singly = [self._recorded(store, [id]) for id in ids] if len(ids) > 1 else []
            return {id: result for some in singly for id, result in some.items()}
        return {id: result for id, result in found.items() if result.state in READY_STATES}

    def _give_back(self) -> None:
        for queue in [self._arrived, *list(self._waiting.values())]:
            while queue:
                delivery = queue.popleft()
                self._settler.add(Outcome(delivery, settlement=Settlement(delivery, Verdict.REQUEUE)))


def _id(delivery: Delivery) -> str | None:
    id = delivery.message.headers.get("id") if delivery.message is not None else None
    return id if isinstance(id, str) else None
