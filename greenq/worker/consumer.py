"""The loop: wait for free slots, fetch no more than fits, spawn. The same for every pool."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from greenq.brokers.base import Broker
from greenq.errors import GreenqError
from greenq.message import Delivery, Outcome, Settlement, Verdict
from greenq.results.base import ResultStore
from greenq.signals import task_received
from greenq.worker.ahead import Ahead
from greenq.worker.batches import Batches
from greenq.worker.gate import Gate
from greenq.worker.reach import Reach
from greenq.worker.reruns import Reruns
from greenq.worker.runner import Runner
from greenq.worker.runs import GIVEN_UP, LIMIT, SHUTDOWN, TERMINATED, BatchRun, Observer, Run, deliveries_of
from greenq.worker.settler import Settler
from greenq.worker.suspects import Suspects
from pools.base import Call, Pool
from pools.errors import PoolClosed

__all__ = ["Consumer", "Run"]

log = logging.getLogger("greenq.consumer")

FETCH_WAIT = 5.0
"""Seconds that one fetch waits for messages; only how often the idle loop turns."""
SLOT_WAIT = 1.0
IDLE_LOOK = 0.05
"""Seconds that one fetch waits while somebody wants to know soon that nothing is left (`on_idle`)."""
PAUSED_LOOK = 0.25
"""Seconds between looks whether a queue is resumed while all are paused."""
AWAY_FIRST, AWAY_MOST = 0.1, 2.0
"""Seconds between attempts while the broker is away: doubled each time, up to the most."""


class Consumer:
    """Takes from the broker what the pool can start now, and hands each outcome to the settler.

    Parameters:
        pool: where deliveries run.
        queues: most important first.
        prefetch: how many deliveries may wait here beyond those that run; None for as many as is best.
        max_deliveries: a message that so many deaths are charged to is given up.
        timeout: seconds that settling before a run may take (``acks_late=False``).
        store: asked whether a suspect's end is recorded already; None if no results are kept.
    """

    def __init__(
        self,
        broker: Broker,
        pool: Pool,
        runner: Runner,
        settler: Settler,
        queues: Sequence[str],
        prefetch: int | None,
        max_deliveries: int,
        timeout: float,
        store: ResultStore | None = None,
    ) -> None:
        self._broker = broker
        self._pool = pool
        self._runner = runner
        self._settler = settler
        self._queues = list(queues)
        self._timeout = timeout
        self._stopping = threading.Event()
        self._quiet = threading.Event()
        reruns = Reruns(settler, self._held, broker.guarantees.recognises)
        self.suspects = Suspects(
            broker, store, pool, settler, runner.endings, reruns, self._begin, max_deliveries, timeout,
        )  # fmt: skip
        """Those who were in flight at a death; they start in a service of their own."""
        self.ahead = Ahead(pool, prefetch, self._put_back, self._ended)
        """Those that wait for slots; what waits too long is given back by a service of its own."""
        self._some_early = not all(handler.acks_late for handler in runner.handlers.values())
        self.ahead.lines_up = not self._some_early
        self.batches = Batches(runner.handlers, self._start_batch, self._put_back)
        """Those whose tasks take many at once; they too have a service of their own."""
        self._gathers = bool(self.batches)
        self._may_push = not self._gathers and not self._some_early
        """Whether what is fetched takes a slot until it is settled; see `Broker.slots`."""
        self._apart = False
        """Whether suspects wait, which take none."""
        self._prefetch = prefetch or 0
        self._slots = pool.capacity + self._prefetch
        self.started = 0
        self.gate: Gate | None = None
        """Asked before a start, where tasks have limits."""
        self.screen: Callable[[list[Run]], None] | None = None
        """Takes out what was revoked before it starts; None while nothing is."""
        self.observer: Observer | None = None
        self._unreached = False
        self.reach: Reach | None = None
        """Told when fetching fails, and when it works again."""
        self.on_idle: Callable[[], None] | None = None
        """Told when a fetch found nothing and nothing runs; a burst worker ends then."""

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Fetch and spawn until `stop`: the consumer's service."""
        away = AWAY_FIRST
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                    away = AWAY_FIRST
                except PoolClosed:
                    break
                except GreenqError as error:
                    log.warning("nothing can be fetched, next attempt in %.2g s: %s", away, error)
                    self._unreached = True
                    if self.reach is not None:
                        self.reach.failed("fetch")
                    self._stopping.wait(away)
                    away = min(away * 2, AWAY_MOST)
        finally:
            self.ahead.stop()
            self.ahead.give_back()
            self.batches.stop()  # not before: what was fetched last belongs to them too
            self._quiet.set()

    def _turn(self) -> None:
        free = self._pool.wait_free(SLOT_WAIT)
        room = self.ahead.room(free)
        if room > 0:
            if self._settler.congested:
                self._settler.wait_for_room(AWAY_FIRST)
            elif self._gathers and self.batches.behind:
                self._stopping.wait(AWAY_FIRST)
            elif not self._stopping.is_set():
                wait = FETCH_WAIT if self.on_idle is None else IDLE_LOOK
                self._fetch(room, wait if free else min(wait, SLOT_WAIT))
        runs = self.ahead.take()
        if runs:
            try:
                if self._some_early or self.gate is not None or self.screen is not None:
                    self._prepare(runs)
                self._start(runs, self._ended)
            except BaseException:
                # What is leased and not running must stay in sight, or it would wait for ever.
                self.ahead.put_first(runs)
                raise

    def _fetch(self, room: int, timeout: float) -> None:
        if not self._queues:  # all are paused
            self._stopping.wait(min(timeout, PAUSED_LOOK))
        if self._may_push:
            self._apart = self._apart and bool(len(self.suspects))
            pushes = not self._apart and self.on_idle is None
            self._broker.slots = self._slots if pushes else 0
        deliveries = self._broker.fetch(self._queues, room, timeout) if self._queues else []
        if self._unreached:
            self._unreached = False
            if self.reach is not None:
                self.reach.succeeded("fetch")
        normal: Sequence[Delivery] = deliveries
        for delivery in deliveries:
            if delivery.attempts:
                normal = self._without_suspects(deliveries)
                break
        if task_received.receivers:
            self._runner.announce(deliveries)
        if self.observer is not None:
            for delivery in deliveries:
                if delivery.message is not None and "task" not in delivery.message.headers:
                    self._runner.upgrade(delivery)
            self.observer.received(deliveries)
        if self._gathers:
            normal = self.batches.take(normal)
        self.ahead.runs.extend(self._runs_of(normal))
        if not deliveries:
            # Whoever embeds the pool may have resized it.
            self._slots = self._pool.capacity + self._prefetch
        if not deliveries and self.on_idle is not None and not self.running() and not len(self.suspects):
            if len(self.batches):
                self.batches.hurry()
            else:
                self.on_idle()

    def _without_suspects(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Hand over those that were in flight at a death; the others."""
        self._apart = True
        for delivery in deliveries:
            if delivery.attempts:
                self.suspects.add(delivery)
        return [delivery for delivery in deliveries if not delivery.attempts]

    def _runs_of(self, deliveries: Sequence[Delivery]) -> list[Run]:
        handlers = self._runner.handlers
        runs = []
        for delivery in deliveries:
            message = delivery.message
            # As `name_of` does, for every message and so without a call.
            name = message.headers.get("task") if message is not None else None
            handler = handlers.get(name) if type(name) is str else None
            if name is None and message is not None:
                handler = self._runner.upgrade(delivery)
            if handler is not None:
                handler.tally[0] += 1
            runs.append(Run(delivery, handler))
        return runs

    def _begin(self, suspects: Sequence[Delivery], done: Callable[[Call], None]) -> list[Delivery]:
        """Run suspects, and tell their ends to `done` too; those that can be run."""

        def ended(call: Call) -> None:
            try:
                self._ended(call)
            finally:
                done(call)

        runs = self._runs_of(suspects)
        self._prepare(runs)
        started = [run.delivery for run in runs]
        try:
            self._start(runs, ended)
        finally:
            for run in runs:
                self._put_back(run.delivery)
        return started

    def _prepare(self, runs: list[Run]) -> None:
        """Take out what may not start now, or not at all."""
        if self.screen is not None:
            self.screen(runs)
        admitted = self.gate.admit(runs) if self.gate is not None else {}
        left: set[int] = set()
        try:
            self._settle_early(runs)
            left = {id(run) for run in runs}
        finally:
            if self.gate is not None and admitted:
                self.gate.forget([task for run, task in admitted.items() if run not in left])

    def _settle_early(self, runs: list[Run]) -> None:
        """Acknowledge what is run at most once; what is not ours any more, or can't be run, is taken out."""
        early = [run for run in runs if run.handler is not None and not run.handler.acks_late]
        if early:
            ours = self._acknowledge_early(early)
            runs[:] = [run for run in runs if run.handler is None or run.handler.acks_late or run in ours]

    def _start(self, runs: list[Run], ended: Callable[[Call], None]) -> None:
        """Run them; what has been taken care of is taken out of `runs`, whatever happens to the rest."""
        spawn, work = self._pool.spawn, self._runner.run
        if self.observer is not None:
            work = self._runner.run_told
            self.observer.started(runs)
        runs.reverse()  # so that the first is last, where it is cheap to take out
        while runs:
            run = runs[-1]
            spawn(work, run.delivery, done=ended, tag=run)
            runs.pop()
            self.started += 1

    def _start_batch(self, deliveries: list[Delivery]) -> None:
        """Run deliveries together, in one slot; what has been taken care of is taken out of the list."""
        while not self._pool.wait_free(SLOT_WAIT):
            if self.batches.abandoned:
                return
        runs = self._runs_of(deliveries)
        self._prepare(runs)
        deliveries[:] = [run.delivery for run in runs]
        if runs:
            if self.observer is not None:
                self.observer.started(runs)
            batch = BatchRun(runs)
            self._pool.spawn(self._runner.run_batch, batch.deliveries, done=self._batch_ended, tag=batch)
            deliveries.clear()
            self.started += len(runs)

    def _batch_ended(self, call: Call) -> None:
        """The same as `_ended` for all that ran together."""
        run: BatchRun = call.tag
        if run.ending != LIMIT and call.error is None:
            for outcome in call.value:
                self._settler.add(outcome)
            return
        for delivery in run.deliveries:
            if run.ending == LIMIT and run.hard is not None:
                self._end(delivery, self._runner.over_limit, run.hard)
            elif run.ending == SHUTDOWN:
                self._end(delivery, self._runner.returned)
            elif run.ending != GIVEN_UP:
                self._end(delivery, self._runner.lost, call.error)

    def _acknowledge_early(self, runs: list[Run]) -> set[Run]:
        """Settle at-most-once deliveries before they start; those that are still ours and can be run.

        What can't be decoded is told apart first: once acknowledged it could not be dead-lettered.
        """
        checked = [(run, self._runner.check(run.delivery)) for run in runs]
        readable = [run for run, outcome in checked if outcome is None]
        settlements = [Settlement(run.delivery, Verdict.ACK) for run in readable]
        done = self._broker.settle(settlements, self._timeout) if settlements else []
        # Not before the broker has answered: if it can't, all of them come back here.
        for _, outcome in checked:
            if outcome is not None:
                self._settler.add(outcome)
        return {run for run, ours in zip(readable, done, strict=True) if ours}

    def _ended(self, call: Call) -> None:
        """A call has ended, for whatever reason: pass its outcome on. Runs where the pool reports."""
        run: Run = call.tag
        if run.ending is None and call.error is None:
            self._settler.add(call.value)
        elif run.ending == LIMIT and run.hard is not None:
            # Whatever it made of that: on some pools it can catch its end, and return as if nothing were.
            self._end(run.delivery, self._runner.over_limit, run.hard)
        elif run.ending == TERMINATED:
            self._end(run.delivery, self._runner.revoked, run.signum)
        elif call.error is None:
            self._settler.add(call.value)
        elif run.ending == SHUTDOWN:
            self._end(run.delivery, self._runner.returned)
        elif run.ending != GIVEN_UP:
            self._end(run.delivery, self._runner.lost, call.error)

    def _end(self, delivery: Delivery, ending: Callable[..., Outcome], *args: Any) -> None:
        try:
            outcome = ending(delivery, *args)
        except BaseException as error:
            # Without an outcome the message would stay leased and not run for as long as this process lives.
            outcome = self._runner.endings.unaccountable(delivery, error)
        self._settler.add(outcome)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def queues(self) -> Sequence[str]:
        """Those that are fetched from: not those that are paused."""
        return self._queues

    def take_from(self, queues: Sequence[str]) -> None:
        """Fetch from these queues from now on, most important first."""
        self._queues = list(queues)
        self._broker.wake()

    def room_for(self, slots: int) -> None:
        """The pool has so many slots from now on."""
        self._slots = slots + self._prefetch
        self._settler.room_for(slots)

    def stop(self) -> None:
        """Fetch nothing more; what runs goes on."""
        self._stopping.set()
        self.suspects.stop()
        self._broker.wake()

    def reserved(self) -> list[Delivery]:
        """What was fetched and waits for a slot."""
        return [*self.ahead.deliveries(), *self.batches.held()]

    def running(self) -> list[Call]:
        """The calls of this consumer that the pool has not finished."""
        return [call for call in self._pool.calls() if isinstance(call.tag, Run)]

    def drain(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until nothing runs any more; True if so."""
        deadline = time.monotonic() + timeout
        waited = (self._quiet, self.suspects.quiet, self.batches.quiet)
        while not all(one.is_set() for one in waited) or self.running():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._pool.sleep(min(0.02, left))
        return True

    def end_running(self) -> None:
        """Put back what still runs: killed where the pool can, given up and requeued where it can't."""
        self.batches.abandon()
        for call in self.running():
            run: Run = call.tag
            if self._pool.features.kill:
                run.ending = SHUTDOWN
                self._pool.kill(call)
            else:
                run.ending = GIVEN_UP
                for delivery in deliveries_of(run):
                    self._end(delivery, self._runner.returned)

    def _held(self) -> list[Delivery]:
        """What runs, or is about to."""
        running = (delivery for call in self.running() for delivery in deliveries_of(call.tag))
        return [*self.reserved(), *running]

    def _put_back(self, delivery: Delivery) -> None:
        self._settler.add(Outcome(delivery, settlement=Settlement(delivery, Verdict.REQUEUE)))
