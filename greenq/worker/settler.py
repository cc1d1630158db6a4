"""Group commit: outcomes of many tasks leave in one round trip."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from greenq.brokers.base import Broker
from greenq.chords import ChordPart, DueChord
from greenq.errors import GreenqError, PublishError, PublishTimeout
from greenq.failures import plain
from greenq.message import Outcome, Settlement, Verdict
from greenq.results.base import ResultStore
from pools.bell import Bell

__all__ = ["Settler"]

log = logging.getLogger("greenq.settler")

RETRY_FIRST, RETRY_MOST = 0.05, 2.0
"""Seconds between attempts while the broker or the store is away: doubled each time, up to the most."""
OUTCOMES_PER_SLOT, LEAST_OUTCOMES = 4, 200
"""How many outcomes may wait for the broker, for each slot and at least, before fetching pauses."""

Watch = Callable[[Sequence[Outcome]], Callable[[], None] | None]


class Settler:
    """Takes the outcomes of finished tasks and commits them, as many at once as have gathered.

    Idle, it flushes the first outcome at once: lowest latency. Busy, everything that arrives during a flush
    goes with the next: one round trip for hundreds. While the broker is away outcomes wait here, and
    `congested` tells the consumer to stop fetching, so that what waits stays bounded.

    Parameters:
        broker, store: where outcomes go; no result is kept where `store` is None.
        timeout: seconds that one round trip may take.
        slots: how many tasks can run; what may wait goes by that.
    """

    def __init__(self, broker: Broker, store: ResultStore | None, timeout: float, slots: int) -> None:
        self._broker = broker
        self._store = store
        self._timeout = timeout
        self._most = 0
        self.room_for(slots)
        self._inbox: deque[Outcome] = deque()
        self._bell = Bell()
        self._room = Bell()
        self._asleep = False
        self._flushing = 0
        self._batch: Sequence[Outcome] = ()
        self._stopping = False
        self._abandoned = False
        self.congested = False
        """Whether so many wait that nothing more should be fetched; looked at for each fetch."""
        self.committed = 0
        self.lost = 0
        self.on_commit: Callable[[int], None] | None = None
        """Told how many outcomes each commit had; a burst worker and the summary listen."""
        self.on_refused: Callable[[Outcome], None] | None = None
        """Told of each outcome whose lease was lost, before its settlement is forgotten."""
        self.watch: Watch | None = None
        """What `add_watch` was given; one that asks them all, if there are several."""
        self._watches: tuple[Watch, ...] = ()
        self.on_due: Callable[[DueChord], None] | None = None
        """Told of each chord that an outcome has completed: its body is to be sent."""

    def add_watch(self, watch: Watch) -> None:
        """Show it what is about to be committed; what it returns is called once it is."""
        self._set_watches((*self._watches, watch))

    def remove_watch(self, watch: Watch) -> None:
        """Undo `add_watch`."""
        self._set_watches(tuple(one for one in self._watches if one != watch))

    def _set_watches(self, watches: tuple[Watch, ...]) -> None:
        def all_of_them(batch: Sequence[Outcome]) -> Callable[[], None]:
            committed = [then for watch in watches if (then := watch(batch)) is not None]

            def tell() -> None:
                for then in committed:
                    then()

            return tell

        self._watches = watches
        self.watch = all_of_them if len(watches) > 1 else watches[0] if watches else None

    @property
    def waiting(self) -> int:
        """How many outcomes are not committed yet."""
        return len(self._inbox) + self._flushing

    def pending(self) -> list[Outcome]:
        """The outcomes that are not committed yet."""
        return [*self._batch, *self._inbox.copy()]

    def add(self, outcome: Outcome) -> None:
        """Hand over one outcome; returns at once. Any thread may call it."""
        self._inbox.append(outcome)
        if len(self._inbox) + self._flushing >= self._most:
            self.congested = True
        if self._asleep:
            self._bell.ring()

    def run(self) -> None:
        """Commit what arrives until `stop`, and then the rest: the settler's service."""
        while True:
            if not self._inbox:
                # One that added what has left meanwhile may have said so late: nothing waits now.
                self.congested = False
                if self._stopping:
                    return
                self._asleep = True
                # An outcome that came between the look and the flag has not rung: look again.
                if not self._inbox and not self._stopping:
                    self._bell.wait(1.0)
                self._asleep = False
                continue
            # Counted before they leave the inbox: to whoever waits for the end, none may seem gone meanwhile.
            count = self._flushing = len(self._inbox)
            batch: list[Outcome] = []
            self._batch = batch
            for _ in range(count):
                batch.append(self._inbox.popleft())
            self.congested = len(self._inbox) + count >= self._most
            committed = self.watch(batch) if self.watch is not None else None
            self._commit(batch)
            if committed is not None and not self._abandoned:
                committed()
            self._batch, self._flushing = (), 0
            if self.congested and len(self._inbox) < self._most:
                self.congested = False
                self._room.ring()
            self.committed += len(batch)
            if self.on_commit is not None:
                self.on_commit(len(batch))

    def wait_for_room(self, timeout: float) -> None:
        """Wait up to `timeout` seconds, while `congested`, until something may be fetched again."""
        self._room.wait(timeout)

    def room_for(self, slots: int) -> None:
        """Let as many outcomes wait before fetching pauses as so many slots may make."""
        self._most = max(LEAST_OUTCOMES, OUTCOMES_PER_SLOT * slots)

    def stop(self) -> None:
        """Let `run` end as soon as everything is committed."""
        self._stopping = True
        self._bell.ring()

    def abandon(self) -> None:
        """Give up what cannot be committed: its leases run out and it is delivered again."""
        self._stopping = True
        self._abandoned = True
        self._bell.ring()

    def _commit(self, batch: Sequence[Outcome]) -> None:
        pause = RETRY_FIRST
        while True:
            try:
                if self._attempt(batch):
                    return
            except GreenqError as error:
                log.warning("%d outcomes wait, next attempt in %.2g s: %s", self.waiting, pause, error)
            except Exception as error:
                log.exception("%d outcomes wait, next attempt in %.2g s", self.waiting, pause)
                batch = self._without_culprits(batch, error)
            if self._abandoned:
                log.error("%d outcomes are given up; their tasks will be delivered again", len(batch))
                return
            self._bell.wait(pause)
            pause = min(pause * 2, RETRY_MOST)

    def _attempt(self, batch: Sequence[Outcome]) -> bool:
        """Commit once; False if some of it is left to try again.

        Each step that is confirmed is taken out of the outcome, so that another attempt does not repeat it.
        """
        if self._store is not None:
            try:
                done = self._store.commit(self._broker, batch, self._timeout)
            except PublishTimeout:
                raise
            except PublishError as error:
                return self._attempt_singly(batch, error)
            if done is not None:
                if False in done:
                    self._count_lost(batch, done)
                for outcome in batch:
                    if outcome.parts:
                        self._tell_due(outcome.parts)
                return True
            self._open_chords(self._store, batch)
        ready = batch
        for outcome in batch:
            if outcome.publishes:
                ready = self._publish(batch)
                break
        if self._store is not None:
            self._store_ends(self._store, ready)
        settlements: list[Settlement] = []
        for outcome in ready:
            if outcome.settlement is not None:
                settlements.append(outcome.settlement)
        if settlements:
            done = self._broker.settle(settlements, self._timeout)
            if False in done:
                self._count_lost([o for o in ready if o.settlement is not None], done)
            for outcome in ready:
                outcome.settlement = None
        return len(ready) == len(batch)

    def _open_chords(self, store: ResultStore, batch: Sequence[Outcome]) -> None:
        openings = [opening for o in batch for opening in o.openings]
        if openings:
            store.open_chords(openings, self._timeout)
            for outcome in batch:
                outcome.openings = ()

    def _store_ends(self, store: ResultStore, ready: Sequence[Outcome]) -> None:
        """Count the parts of chords, then put the results: what has a result is not counted again."""
        parts = [part for o in ready for part in o.parts]
        if parts:
            store.count(parts, self._timeout)
            for outcome in ready:
                outcome.parts = ()
            self._tell_due(parts)
        results = [o.result for o in ready if o.result is not None]
        further = [result for o in ready for result in o.further]
        if results or further:
            store.put(results + further if further else results, self._timeout)
            for outcome in ready:
                outcome.result = None
                outcome.further = ()

    def _tell_due(self, parts: Sequence[ChordPart]) -> None:
        if self.on_due is not None:
            for part in parts:
                due = part.due
                if due is not None:
                    self.on_due(due)

    def _attempt_singly(self, batch: Sequence[Outcome], error: PublishError) -> bool:
        """One outcome's child was refused and with it the whole batch: find it, and commit the others."""
        if len(batch) == 1:
            self._refuse(batch[0], error)
            return self._attempt(batch)
        for outcome in batch:
            if outcome.publishes or outcome.result is not None or outcome.settlement is not None:
                self._attempt((outcome,))
                outcome.publishes, outcome.result, outcome.settlement = (), None, None
                outcome.openings, outcome.further, outcome.parts = (), (), ()
        return True

    def _without_culprits(self, batch: Sequence[Outcome], error: Exception) -> Sequence[Outcome]:
        """What is left of a batch with which broker or store failed in a way that they are not meant to.

        Each is tried alone, or one that no attempt will ever get through would hold up all others for ever.
        """
        if len(batch) == 1:
            self._give_up(batch[0], error)
            return batch
        left = []
        for outcome in batch:
            try:
                if self._attempt((outcome,)):
                    continue
            except GreenqError:
                pass
            except Exception as own:
                self._give_up(outcome, own)
            left.append(outcome)
        return left

    def _give_up(self, outcome: Outcome, error: Exception) -> None:
        """Make a dead letter of an outcome that cannot be committed, if it is not settled yet."""
        log.error("what a task left behind cannot be committed, the task is dead-lettered: %r", error)
        outcome.publishes, outcome.result = (), None
        outcome.openings, outcome.further, outcome.parts = (), (), ()
        if outcome.settlement is not None:
            reason = f"its outcome could not be committed: {error!r:.500}"
            outcome.settlement = Settlement(outcome.delivery, Verdict.DEAD, reason=plain(reason))

    def _publish(self, batch: Sequence[Outcome]) -> Sequence[Outcome]:
        """Publish every child; the outcomes whose children have all arrived."""
        parents = [o for o in batch if o.publishes]
        errors = iter(self._broker.publish([m for o in parents for m in o.publishes], self._timeout))
        unsure = set()
        for outcome in parents:
            failed = [e for e in [next(errors) for _ in outcome.publishes] if e is not None]
            if not failed:
                outcome.publishes = ()
            elif isinstance(failed[0], PublishTimeout):
                unsure.add(id(outcome))
            else:
                self._refuse(outcome, failed[0])
        return [o for o in batch if id(o) not in unsure] if unsure else batch

    def _refuse(self, outcome: Outcome, error: GreenqError) -> None:
        """A child that the broker will never take must not be dropped in silence: keep its parent instead."""
        log.error("a task's follow-up was refused, the task is dead-lettered: %s", error)
        outcome.publishes = outcome.openings = ()
        if outcome.settlement is not None:
            reason = f"what was to follow could not be sent: {error}"
            outcome.settlement = Settlement(outcome.delivery, Verdict.DEAD, reason=reason)

    def _count_lost(self, outcomes: Sequence[Outcome], done: Sequence[bool]) -> None:
        lost = len(done) - sum(done)
        self.lost += lost
        for outcome, ours in zip(outcomes, done, strict=True):
            if not ours and self.on_refused is not None:
                self.on_refused(outcome)
        log.warning(
            "%d settlements refused: the lease was lost and the task is delivered again elsewhere", lost
        )
