"""The Worker: wires broker, pool, loop and duties together. The only file that knows all of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from greenq.app import GreenQ
from greenq.errors import ConfigError, GreenqError
from greenq.worker.announcing import Announcer
from greenq.worker.attending import attend, declare
from greenq.worker.chordends import ChordEnds
from greenq.worker.consumer import Consumer
from greenq.worker.duties.blocked import Blocked
from greenq.worker.duties.bodies import Bodies
from greenq.worker.duties.housekeeping import Housekeeping
from greenq.worker.duties.lease import Lease
from greenq.worker.duties.pausing import Pausing
from greenq.worker.duties.recycling import Recycling
from greenq.worker.duties.summary import Summary
from greenq.worker.gatemaking import gate_of, make_gate
from greenq.worker.limits import (
    Limits,
    refuse_impossible_limits,
    refuse_limits_beyond,
    warn_of_limits,
)
from greenq.worker.nodename import node_name
from greenq.worker.page import Page
from greenq.worker.poolmaking import make_pool, require_green
from greenq.worker.reach import Reach
from greenq.worker.remote import Remote
from greenq.worker.runner import Runner
from greenq.worker.settler import Settler
from greenq.worker.steered import Parts
from pools.base import Pool, Service

__all__ = ["Worker"]

log = logging.getLogger("greenq.worker")

SETTLE_GRACE = 10.0
"""Seconds that a stopping worker tries to commit what is left."""


class Worker:
    """Runs the tasks of an application in this process until it is stopped.

    The command wraps it in processes of its own. Embedded, it never patches anything, takes no signals and
    replaces no processes::

        worker = greenq.Worker(app, pool=pool)
        worker.start()
        ...
        worker.stop(timeout=30)

    Parameters:
        app: its settings say which queues, limits and leases.
        pool: where tasks run; it stays the caller's and is not closed. None makes and owns the one that the
            settings name.
        process: the name under which messages are leased; no other process may have had it.
        index: this process's number, for ``%i`` in the node's name.
        burst: call `on_finish` when the queues are empty.
        release: names of dead processes whose messages are to be given back at once.
        release_uncharged: the same of processes that were ended for what another task did.
        page: shared with a supervisor that watches this process.
        overrides, config: what the command line set, and the file that it named; pools that run tasks in
            processes of their own repeat it there.

    Raises:
        NotPatched: the pool needs a green standard library and this process's is not; names what isn't.
        ConfigError: a task has a limit that the pool can't keep, or the pool can't be made from settings.
    """

    def __init__(
        self,
        app: GreenQ,
        pool: Pool | None = None,
        *,
        process: str | None = None,
        index: int = 0,
        burst: bool = False,
        release: tuple[str, ...] = (),
        release_uncharged: tuple[str, ...] = (),
        page: Page | None = None,
        overrides: Mapping[str, tuple[Any, str]] | None = None,
        config: str | None = None,
    ) -> None:
        settings = app.settings
        self.app = app
        self.node = node_name(settings.worker.node, index)
        self.process = process or f"{self.node}:{os.getpid()}:{os.urandom(4).hex()}"
        self.on_finish: Callable[[str], None] | None = None
        """Told once why it wants to end: ``"burst"``, ``"shutdown"``, ``"unreachable"``, or what failed."""
        self.on_recycle: Callable[[str], None] | None = None
        """Told once why this process should be replaced; the worker goes on until it is stopped."""
        self._release = release
        self._release_uncharged = release_uncharged
        self.page = page
        self.stopped_by: str | None = None
        """The name of the signal that makes it stop; only told on."""
        self._burst = burst
        self._finished = False
        self._failed = False
        self._services: list[Service] = []
        self._running = False
        self._turn = threading.Lock()
        self._end: Service | None = None
        self._clean = False
        require_green(pool.name if pool is not None else settings.worker.pool)
        app.load_tasks()
        app.middleware()  # before processes are made that would fail at the same mistake, but tell it worse
        self._owns_pool = pool is None
        self.pool = pool if pool is not None else make_pool(app, overrides or {}, config)
        try:
            self._wire()
            self._announcer = Announcer(self, self.pool.features.isolated)
            self._announcer.made()
        except BaseException:
            self._close_pool()
            raise

    def _wire(self) -> None:
        app, settings = self.app, self.app.settings
        self._broker = app.broker
        if self.pool.features.isolated and not self._broker.guarantees.shared:
            raise ConfigError(
                f"the {self.pool.name} pool runs tasks in other processes, which can't reach this broker: "
                "choose another pool or another broker.url"
            )
        self._store = app.results
        self._runner = Runner(app, self.node, self.pool.bind, self.page)
        self._runner.aside = lambda tell: self.pool.service(tell, "greenq-hooks")
        handlers = self._runner.handlers.values()
        refuse_impossible_limits(self.pool.name, self.pool.features, handlers)
        refuse_limits_beyond(self._broker.guarantees.longest_hold, handlers)
        self._settler = Settler(self._broker, self._store, settings.broker.timeout, self.pool.capacity)
        self._consumer = Consumer(
            self._broker, self.pool, self._runner, self._settler, settings.worker.queues,
            settings.worker.prefetch, settings.worker.max_deliveries, settings.broker.timeout, self._store,
        )  # fmt: skip
        self._reach = Reach(settings.broker.patience, self._show_reach, self._lose_patience)
        self._consumer.reach = self._reach
        self._lease = Lease(self._broker, settings.worker.lease, self._reach)
        limits = settings.worker
        self._recycling = Recycling(
            limits.max_tasks, limits.max_age, limits.max_memory, self._announce_recycling, self.pool.trim
        )
        self._blocked = Blocked(self.pool, self._runner.who, self.page)
        held_up = self._blocked.is_held_up
        self._limits = Limits(self.pool, self._consumer, handlers, held_up, app.soft_limit_error)
        self._bodies: Bodies | None = None
        if self._store is not None and self._store.refuses_chords is None:
            runner = self._runner
            ends = ChordEnds(app, self._broker, self._store, runner.endings.records, runner.followups)
            self._bodies = Bodies(self._store, ends)
            self._settler.on_due = self._bodies.add
        self._housekeeping = Housekeeping(self._broker, self._store, settings.worker.lease)
        self._summary = Summary(self._consumer, self._settler)
        self._pausing = Pausing(app.queues, self._consumer.take_from)
        self._gate = gate_of(app, self._runner, self._settler, self.process)
        self._remote = Remote(
            Parts(
                app, self.node, self.pool, self._broker, self._store, self._runner, self._consumer,
                self._settler, self._limits, self._pausing, self._open_gate, self._end_when_told,
                lambda: self.on_recycle,
            )
        )  # fmt: skip

    # ── start ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to take messages, and return.

        Raises:
            BrokerError: the broker can't be reached, or refuses.
        """
        settings = self.app.settings
        self._announcer.starts()
        declare(self._broker, settings)
        self._give_back(self._release, True)
        self._give_back(self._release_uncharged, False)
        self._broker.lease(self.process, settings.worker.lease)
        self._consumer.take_from(attend(self._broker, settings, self.node))
        warn_of_limits(self.pool.features, self._broker, self._store, self._runner.handlers.values())
        self._running = True
        # The lease first, or what is fetched could already be somebody else's; the settler before the
        # consumer, which hands it outcomes; the rest in no order that matters.
        self._lease.start()
        self._blocked.start()
        self._serve(self._settler.run, "settler")
        if self._bodies is not None:
            self._serve(self._bodies.run, "bodies")
        self._serve(self._limits.run, "limits")
        self._serve(self._housekeeping.run, "housekeeping")
        self._serve(self._summary.run, "summary")
        if self._burst:
            self._consumer.on_idle = self._finish_burst
        if settings.worker.max_tasks is not None:
            self._settler.on_commit = lambda _: self._recycling.count(self._settler.committed)
        if not self._recycling.idle:
            self._serve(self._recycling.run, "recycling")
        self._pausing.queues = self._consumer.queues
        if self._gate is not None:
            self._open_gate()
        if self.app.throttling.available:
            self._pausing.look()  # before anything is fetched from a queue that is paused
            self._serve(self._pausing.run, "pausing")
        self._serve(self._consumer.suspects.run, "suspects")
        if settings.worker.prefetch is None:
            self._serve(self._consumer.ahead.run, "ahead")
        if self._consumer.batches:
            self._serve(self._consumer.batches.run, "batches")
        self._remote.prepare()
        for run, name in self._remote.services():
            self._serve(run, name)
        self._serve(self._consumer.run, "consumer")
        self._show_reach(True)
        self._announcer.is_ready()

    def _open_gate(self) -> None:
        """Begin to keep tasks' limits, though no task may have had any at the start."""
        if self._consumer.gate is None:
            gate = self._gate or make_gate(self.app, self._runner, self._settler, self.process)
            self._gate = self._consumer.gate = gate
            gate.start()
            self._serve(gate.run, "gate")

    def _serve(self, run: Callable[[], None], name: str) -> None:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:
                # A duty that dies leaves a worker that looks alive and isn't: it must end instead.
                log.exception("the %s failed; this worker ends", name)
                self._fail(f"the {name} failed: {error!r}")

        self._services.append(self.pool.service(guarded, f"greenq-{name}"))

    # ── what a supervisor hears and asks for ─────────────────────────────────────────────────────────────

    def give_back(self, processes: Sequence[str], charge: bool) -> None:
        """Return the messages that dead processes held to their queues, if the broker can be reached.

        Parameters:
            processes: the names under which they leased them.
            charge: what they ran becomes suspect; False if they were ended on purpose.
        """
        try:
            self._give_back(processes, charge)
        except GreenqError as error:
            log.warning("what a dead process held returns when its lease ends: %s", error)

    def _give_back(self, processes: Sequence[str], charge: bool) -> None:
        for process in processes:
            returned = self._broker.release(process, charge)
            log.info("%d messages of a dead predecessor went back to their queues", returned)

    def _show_reach(self, reachable: bool) -> None:
        if self.page is not None:
            self.page.ready = reachable and self._end is None

    def _lose_patience(self, away: float) -> None:
        log.error("the broker is away for %.0f s, longer than broker.patience allows: this worker ends", away)
        self._finish("unreachable")

    def _announce_recycling(self, why: str) -> None:
        if self.on_recycle is not None:
            self.on_recycle(why)

    # ── ending by itself ─────────────────────────────────────────────────────────────────────────────────

    def _finish_burst(self) -> None:
        if self._settler.waiting or (self._bodies is not None and self._bodies.busy):
            return
        depth = self._broker.depth()
        if not any(depth[queue].ready for queue in self._consumer.queues if queue in depth):
            self._finish("burst")

    def _fail(self, reason: str) -> None:
        """End if nobody else sees to it: what is leased here and not run would wait as long as we live."""
        self._failed = True
        self._end_when_told(reason)

    def _end_when_told(self, reason: str) -> None:
        """End, by whoever started this worker or else by itself."""
        unheard = self.on_finish is None
        self._finish(reason)
        if unheard:
            self._begin_end(None)

    def _finish(self, reason: str) -> None:
        if not self._finished:
            self._finished = True
            if self.on_finish is not None:
                self.on_finish(reason)

    # ── stop ─────────────────────────────────────────────────────────────────────────────────────────────

    def drain(self, timeout: float) -> bool:
        """Fetch nothing more, and wait up to `timeout` seconds for what runs; True if it all ended."""
        self._consumer.stop()
        self._announcer.stops(self.stopped_by)
        if self.page is not None:
            self.page.ready = False
        return self._consumer.drain(timeout)

    def stop(self, timeout: float | None = None) -> bool:
        """Fetch nothing more, let tasks finish, put back those that don't, and let go of the broker.

        Called again, it waits for the same end. A task of this worker that calls it is itself waited for, and
        then put back: let it start a thread for that.

        Parameters:
            timeout: seconds that running tasks get; None for `worker.shutdown_timeout`.

        Returns:
            True if every task ended by itself and every outcome was committed.
        """
        if not self._running:
            self._close_pool()
            return True
        return self._begin_end(timeout).join() and self._clean

    def _begin_end(self, timeout: float | None) -> Service:
        """Begin to stop, once. Beside the caller, who may be a task that is ended by it."""
        patience = self.app.settings.worker.shutdown_timeout if timeout is None else timeout
        with self._turn:
            if self._end is None:
                self._end = self.pool.service(lambda: self._wind_up(patience), "greenq-end")
            return self._end

    def _wind_up(self, patience: float) -> None:
        """Every step has an end of its own."""
        try:
            drained = self.drain(patience)
            if not drained:
                self._consumer.end_running()
                self._consumer.drain(SETTLE_GRACE / 2)
            self._clean = self._end_settler() and drained
        except Exception:
            log.exception("the worker could not stop in good order")
        for duty in (
            self._bodies, self._blocked, self._limits, self._housekeeping, self._summary, self._recycling,
            self._pausing, self._remote, self._gate,
        ):  # fmt: skip
            if duty is not None:
                duty.stop()
        for service in self._services:
            service.join(1.0)
        self._remote.close()
        self._let_go()
        self._close_pool()
        self._announcer.has_stopped()

    def _close_pool(self) -> None:
        if self._owns_pool:
            self.pool.close(0)

    def _end_settler(self) -> bool:
        settler = self._services[0]
        self._settler.stop()
        if settler.join(SETTLE_GRACE):
            return self._settler.waiting == 0
        self._settler.abandon()
        settler.join(1.0)
        return False

    def _let_go(self) -> None:
        self._lease.stop()
        if self._failed:
            # Perhaps a task did it, and would again: what returns as a dead process's is suspect.
            return
        if self._reach.away:
            # Trying would take as long as a call to the broker may take, and the process may not have that.
            log.warning("what this process held returns when its lease ends: the broker is away")
            return
        try:
            self._broker.release(self.process)
        except GreenqError as error:
            log.warning("what this process held returns when its lease ends: %s", error)

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────

    def stats(self) -> dict[str, Any]:
        """Counters and sizes, for people and tests."""
        return {
            "node": self.node,
            "started": self._consumer.started,
            "committed": self._settler.committed,
            "lost_leases": self._settler.lost,
            "running": len(self._consumer.running()),
            "suspects": len(self._consumer.suspects),
            "capacity": self.pool.capacity,
            "waiting": self._settler.waiting,
        }
