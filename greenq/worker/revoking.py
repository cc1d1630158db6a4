"""Keeps revoked tasks from running, and ends those that run.

A revoked task that comes is not run: its end is stored as REVOKED and its message acknowledged. What is
revoked is remembered beside the broker where that can remember it, for workers that start later.

Source: celery/worker/control.py (``_revoke``): which states a revocation leaves alone.
"""

from __future__ import annotations

import logging
import signal
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence

from greenq.control.revocations import Revocations, as_member, stamps_of
from greenq.errors import GreenqError, MessageError, SoftTimeLimitExceeded, TaskRevoked
from greenq.failures import describe
from greenq.message import PENDING, RECEIVED, REJECTED, RETRY, REVOKED, Delivery, Result
from greenq.protocol import is_storable
from greenq.radio import Radio
from greenq.results.base import ResultStore
from greenq.worker.consumer import Consumer
from greenq.worker.records import now
from greenq.worker.runner import Runner
from greenq.worker.runs import TERMINATED, BatchRun, Run, deliveries_of
from greenq.worker.settler import Settler
from greenq.worker.told import id_of
from pools.base import Call, Pool
from pools.errors import Unsupported

__all__ = ["Revoker"]

log = logging.getLogger("greenq.revoking")

MARK_AFTER = 1.0
"""Seconds after which a revoked task that nobody runs is stored as REVOKED: who runs it says so before."""
MOST_MARKED = 10_000
"""Tasks that wait for that; of more the oldest are stored as REVOKED when their messages come."""
UNBEGUN = frozenset({PENDING, RECEIVED, RETRY, REJECTED})


class Revoker:
    """The revocations of one worker.

    Parameters:
        revocations: what is revoked.
        radio: what remembers it, if it can.
        timeout: seconds that one question to store or broker may take.
        keep: seconds that results are kept.
    """

    def __init__(
        self,
        revocations: Revocations,
        radio: Radio | None,
        store: ResultStore | None,
        pool: Pool,
        consumer: Consumer,
        runner: Runner,
        settler: Settler,
        timeout: float,
        keep: float | None,
    ) -> None:
        self.revocations = revocations
        self._radio = radio if radio is not None and radio.remembers else None
        self._store = store if store is not None and store.reply_to is None else None
        self._pool = pool
        self._consumer = consumer
        self._runner = runner
        self._settler = settler
        self._timeout = timeout
        self._keep = keep
        self._unmarked: deque[tuple[float, str]] = deque(maxlen=MOST_MARKED)

    # ── what is revoked ──────────────────────────────────────────────────────────────────────────────────

    def recall(self) -> None:
        """Learn what was revoked before this worker started."""
        if self._radio is None:
            return
        try:
            self.revocations.merge(self._radio.remembered(self.revocations.seconds, self._timeout))
        except GreenqError as error:
            log.warning("what was revoked before is not known: %s", error)
        self.look()

    def look(self) -> None:
        """Have the consumer look at what it starts, if there is anything to look for."""
        self._consumer.screen = self._screen if self.revocations.some else None

    def revoke(self, ids: Collection[str]) -> None:
        """Run these no more."""
        ids = [id for id in ids if id and is_storable(id)]
        self.revocations.add(ids)
        self.look()
        self._remember([as_member(id) for id in ids])
        here = {id for call in self._consumer.running() for id in self._ids_of(call)}
        self._say_that_they_run([id for id in ids if id in here])
        due = time.monotonic() + MARK_AFTER
        if self._store is not None:
            self._unmarked.extend((due, id) for id in ids if id not in here)

    def revoke_stamped(self, stamps: Mapping[str, Sequence[str]]) -> None:
        """Run no more what has one of these stamps."""
        self.revocations.add_stamps(stamps)
        self.look()
        self._remember([as_member((name, value)) for name, values in stamps.items() for value in values])

    def _remember(self, members: Sequence[str]) -> None:
        if self._radio is None or not members:
            return
        kept = self.revocations
        try:
            self._radio.remember(members, kept.seconds, kept.most, self._timeout)
        except GreenqError as error:
            log.warning("what was revoked is known to running workers only: %s", error)

    # ── before a start ───────────────────────────────────────────────────────────────────────────────────

    def _screen(self, runs: list[Run]) -> None:
        """Take out what was revoked, and end it."""
        for run in [run for run in runs if self._is_revoked(run.delivery)]:
            try:
                outcome = self._runner.revoked(run.delivery)
            except MessageError:
                continue  # dead-lettered as its turn comes
            runs.remove(run)
            self._settler.add(outcome)

    def _is_revoked(self, delivery: Delivery) -> bool:
        message = delivery.message
        if message is None:
            return False
        return self.revocations.has(self._id_of(delivery), message.headers)

    # ── those that nobody has begun ──────────────────────────────────────────────────────────────────────

    def _say_that_they_run(self, ids: Sequence[str]) -> None:
        """So that nobody takes them for tasks that are not run any more."""
        if self._store is None or not ids:
            return
        try:
            states = self._store.get(ids, self._timeout)
            unsaid = [id for id in ids if id not in states or states[id].state in UNBEGUN]
            running = [one for call in self._consumer.running() for one in deliveries_of(call.tag)]
            results = [self._runner.begun(one) for one in running if self._id_of(one) in unsaid]
            if results:
                self._store.put(results, self._timeout)
        except GreenqError as error:
            log.warning("it is not stored which of the revoked tasks run: %s", error)

    @property
    def due(self) -> float | None:
        """When `mark` has something to do, by the monotonic clock."""
        return self._unmarked[0][0] if self._unmarked else None

    def mark(self) -> None:
        """Store as REVOKED what was revoked a while ago and nobody has begun."""
        ids = []
        while self._unmarked and self._unmarked[0][0] <= time.monotonic():
            ids.append(self._unmarked.popleft()[1])
        if self._store is None or not ids:
            return
        try:
            states = self._store.get(ids, self._timeout)
            error = describe(TaskRevoked("revoked"))
            results = []
            for id in ids:
                if id not in states or states[id].state in UNBEGUN:
                    result = Result(id, REVOKED, error, date_done=now(), expires=self._keep)
                    self._store.encode(result)
                    results.append(result)
            if results:
                self._store.put(results, self._timeout)
        except GreenqError as error:
            log.warning("%d revoked tasks are not stored as such: %s", len(ids), error)

    # ── those that run ───────────────────────────────────────────────────────────────────────────────────

    def stamped(self, stamps: Mapping[str, Sequence[str]]) -> dict[str, set[tuple[str, str]]]:
        """The ids of running tasks that carry one of these stamps, each with those that fit."""
        wanted = {(name, value) for name, values in stamps.items() for value in values}
        found: dict[str, set[tuple[str, str]]] = {}
        for call in self._consumer.running():
            for delivery in deliveries_of(call.tag):
                if delivery.message is not None:
                    fits = wanted.intersection(stamps_of(delivery.message.headers))
                    if fits:
                        found[self._id_of(delivery)] = fits
        return found

    def terminate(self, ids: Collection[str], signum: int) -> list[str]:
        """End those of them that run; their ids. SIGUSR1 raises the soft limit's exception instead.

        Raises:
            Unsupported: the pool can't end what runs.
        """
        ended = []
        for call in self._consumer.running():
            found = [id for id in self._ids_of(call) if id in ids]
            if not found:
                continue
            if isinstance(call.tag, BatchRun) and len(call.tag.deliveries) > 1:
                raise Unsupported(f"{found[0]} runs in one call with others, which would end too")
            if self._terminate(call, signum):
                ended += found
        return ended

    def _terminate(self, call: Call, signum: int) -> bool:
        features, run = self._pool.features, call.tag
        if signum == signal.SIGUSR1:
            if not features.interrupt:
                raise Unsupported(features.why_no_interrupt)
            return self._pool.interrupt(call, SoftTimeLimitExceeded())
        if not features.kill:
            raise Unsupported(features.why_no_kill)
        if run.ending is None:
            run.signum, run.ended, run.ending = signum, self._pool.now(), TERMINATED
        return self._pool.kill(call)

    def _ids_of(self, call: Call) -> list[str]:
        return [self._id_of(delivery) for delivery in deliveries_of(call.tag)]

    def _id_of(self, delivery: Delivery) -> str:
        """Its task's id; version 1 of the protocol has it in the body."""
        return id_of(delivery) or self._runner.who(delivery)[1]
