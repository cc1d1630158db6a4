"""Lets tasks start as their limits allow, and gives back what they held once their end is committed.

It works in the process that fetches, whatever the pool, and asks once for all that are about to start. What
may not start yet goes back to its queue until the moment that the store of limits names.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from greenq.codecs import Codecs
from greenq.errors import GreenqError, MessageError
from greenq.message import REJECTED, RETRY, Delivery, Outcome, Verdict
from greenq.protocol import TaskCall, read
from greenq.throttling.base import Ask, Slot, ThrottleStore
from greenq.throttling.desk import Desk
from greenq.throttling.uniqueness import held_by
from greenq.worker.endings import Endings
from greenq.worker.handlers import Handler
from greenq.worker.settler import Settler
from pools.native import NativeThread, Signal, start

__all__ = ["Gate", "let_go"]

log = logging.getLogger("greenq.throttling")

AWAY_FIRST, AWAY_MOST = 0.1, 2.0
"""Seconds between attempts while the store of limits is away: doubled each time, up to the most."""
EXPIRE_EVERY = 60.0
"""Seconds between looks for what is past its time."""
PUT_OFF = 1.0
"""Seconds, and up to twice as many, after which a task tries again whose limits could not be looked up."""
MOST_PENDING = 100_000
"""How much is remembered that is to be given back to a store that is away; the rest ends with its time."""


class Startable(Protocol):
    """What is about to start."""

    delivery: Delivery
    handler: Handler | None


R = TypeVar("R", bound=Startable)
T = TypeVar("T")


class Gate:
    """Keeps the limits of one worker process.

    Parameters:
        store: where limits are kept.
        codecs: decode what is about to start, as its arguments may say which limits it has.
        owner: the name under which this process leases messages.
        lease: seconds; slots are renewed three times in that time.
        timeout: seconds that a question may take.
    """

    def __init__(
        self,
        store: ThrottleStore,
        codecs: Codecs,
        settler: Settler,
        endings: Endings,
        owner: str,
        lease: float,
        timeout: float,
    ) -> None:
        self._store = store
        self._codecs = codecs
        self._settler = settler
        self._endings = endings
        self._owner = owner
        self._lease = lease
        self._timeout = timeout
        self._held: dict[str, tuple[list[Slot], int]] = {}
        """By a task's id what it holds, and how many deliveries of it are under way."""
        self._put_off: dict[int, Outcome] = {}
        self._lost: set[int] = set()
        self._leaving: deque[Slot] = deque(maxlen=MOST_PENDING)
        self._freeing: deque[tuple[str, str]] = deque(maxlen=MOST_PENDING)
        self._retaking: deque[Slot] = deque(maxlen=MOST_PENDING)
        self._wake = threading.Event()
        self._stopping = Signal()
        self._thread: NativeThread | None = None
        settler.add_watch(self._watch)
        self._on_refused, settler.on_refused = settler.on_refused, self._refused

    # ── before a start ───────────────────────────────────────────────────────────────────────────────────

    def admit(self, runs: list[R]) -> dict[int, str]:
        """Take out of `runs` what may not start yet.

        Returns:
            By the identity of each that has limits and may start its task's id, for `forget`.
        """
        asking: list[tuple[R, Ask]] = []
        freed = False
        for run in runs:
            if run.handler is None or run.handler.task.rules is None:
                continue
            held = held_by(run.delivery.message)
            ask = self._ask_of(run.delivery, run.handler)
            if ask is not None:
                asking.append((run, ask))
            elif held is not None and held[0] == "start":
                self._freeing.append(held[1:])
                freed = True
        if freed:
            self._wake.set()
        return self._sort_out(runs, asking) if asking else {}

    def _ask_of(self, delivery: Delivery, handler: Handler) -> Ask | None:
        """What it has to ask for; None if nothing, or if it will not be run now in any case."""
        rules = handler.task.rules
        call = self._read(delivery)
        if rules is None or not rules.limits or call is None:
            return None
        now = time.time()
        if (call.expires is not None and call.expires <= now) or (call.eta is not None and call.eta > now):
            return None
        limits = rules.limits_for(call.args, call.kwargs)
        return Ask(call.headers["id"], self._owner, self._lease, limits) if limits else None

    def _read(self, delivery: Delivery) -> TaskCall | None:
        if delivery.message is None:
            return None
        try:
            return read(delivery.message, self._codecs)
        except MessageError:
            return None  # dead-lettered when its turn comes

    def _sort_out(self, runs: list[R], asking: Sequence[tuple[R, Ask]]) -> dict[int, str]:
        # Known before they are taken, or a slot could be renewed by nobody.
        for _, ask in asking:
            slots, count = self._held.get(ask.id, ([], 0))
            self._held[ask.id] = (list({*slots, *ask.slots()}), count + 1)
        try:
            dues = self._admitted([ask for _, ask in asking])
        except BaseException:
            self.forget([ask.id for _, ask in asking])
            raise
        refused = set()
        admitted = {}
        for (run, ask), due in zip(asking, dues, strict=True):
            if due > 0:
                self._end(ask.id, leave=False)
                refused.add(id(run))
                outcome = self._endings.postponed(run.delivery, due)
                self._put_off[id(outcome)] = outcome
                self._settler.add(outcome)
                continue
            admitted[id(run)] = ask.id
            held = held_by(run.delivery.message)
            if held is not None and held[0] == "start":
                self._freeing.append(held[1:])
                self._wake.set()
        if refused:
            runs[:] = [run for run in runs if id(run) not in refused]
        return admitted

    def _admitted(self, asks: list[Ask]) -> list[float]:
        try:
            return self._store.admit(asks, self._timeout)
        except GreenqError as error:
            log.warning("%d tasks wait, as their limits can't be looked up: %s", len(asks), error)
            # It may have been done all the same.
            self._leaving.extend(slot for ask in asks for slot in ask.slots())
            self._wake.set()
            return [time.time() + PUT_OFF * random.uniform(1, 2) for _ in asks]

    def forget(self, ids: Sequence[str]) -> None:
        """Give back what was admitted and will not be run after all, as its lease was lost."""
        for one in ids:
            self._end(one)
        self._wake.set()

    # ── after the end ────────────────────────────────────────────────────────────────────────────────────

    def _watch(self, batch: Sequence[Outcome]) -> Callable[[], None] | None:
        """See what is about to be committed; what to do once it is."""
        self._lost.clear()
        over: list[str] = []
        freed: list[tuple[int, tuple[str, str]]] = []
        for outcome in batch:
            message = outcome.delivery.message
            if self._put_off.pop(id(outcome), None) is not None or message is None:
                continue
            one = message.headers.get("id")
            if type(one) is str and one in self._held:
                over.append(one)
            held = held_by(message)
            if held is not None and ends(outcome):
                freed.append((id(outcome), held[1:]))
        if not over and not freed:
            return None

        def committed() -> None:
            for one in over:
                self._end(one)
            self._freeing.extend(hold for number, hold in freed if number not in self._lost)
            self._wake.set()

        return committed

    def _refused(self, outcome: Outcome) -> None:
        """Its lease was lost: another delivery of the same task has its key now."""
        self._lost.add(id(outcome))
        if self._on_refused is not None:
            self._on_refused(outcome)

    def _end(self, one: str, leave: bool = True) -> None:
        """One delivery of a task less is under way; with the last its slots are given back."""
        slots, count = self._held.pop(one, ([], 0))
        if count > 1:
            self._held[one] = slots, count - 1
        elif leave:
            self._leaving.extend(slots)

    # ── in the background ────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to renew, from a native thread: a task that blocks every green thread keeps its slot."""
        self._thread = start(self._renew, "greenq-slots")

    def run(self) -> None:
        """Give back what is over until `stop`, and then the rest: the gate's service."""
        away = AWAY_FIRST
        expired = time.monotonic()
        while True:
            self._wake.clear()
            try:
                self._give_back()
                if time.monotonic() - expired >= EXPIRE_EVERY:
                    expired = time.monotonic()
                    self._store.expire(self._timeout)
                away = AWAY_FIRST
            except GreenqError as error:
                if self._stopping.is_set:
                    log.warning("what tasks held is free when its time is over: %s", error)
                    return
                log.warning("what tasks held can't be given back, next attempt in %.2g s: %s", away, error)
                self._stopping.wait(away)
                away = min(away * 2, AWAY_MOST)
                continue
            if self._stopping.is_set:
                return
            self._wake.wait(EXPIRE_EVERY)

    def _give_back(self) -> None:
        """Carry out what has gathered, each kind in one step; what fails stays."""
        self._carry_out(self._leaving, self._store.leave)
        self._carry_out(self._freeing, self._store.free)
        self._carry_out(self._retaking, self._retake)

    def _carry_out(self, gathered: deque[T], step: Callable[[Sequence[T], float], None]) -> None:
        some = [gathered.popleft() for _ in range(len(gathered))]
        if some:
            try:
                step(some, self._timeout)
            except GreenqError:
                gathered.extendleft(reversed(some))
                raise
            except Exception:
                # No attempt would ever get it through, and all that comes later would wait behind it.
                log.exception("%d things that tasks held are free only when their time is over", len(some))

    def _retake(self, slots: Sequence[Slot], timeout: float) -> None:
        self._store.retake([slot for slot in slots if slot.id in self._held], self._lease, timeout)

    def _renew(self) -> None:
        while not self._stopping.wait(self._lease / 3):
            slots = [slot for held, _ in list(self._held.values()) for slot in held]
            if not slots:
                continue
            try:
                lost = self._store.renew(slots, self._lease, self._timeout)
            except GreenqError as error:
                log.warning("the slots of %d tasks could not be renewed: %s", len(slots), error)
                continue
            except Exception:
                log.exception("slots could not be renewed")
                continue
            # By the service, as one that is given back just now must not be taken after that.
            self._retaking.extend(lost)
            if lost:
                self._wake.set()

    def stop(self) -> None:
        """Renew no more, and let `run` end once everything is given back."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(self._lease / 3)


def ends(outcome: Outcome) -> bool:
    """Whether the task is over with it, and not to be run again."""
    if outcome.state == RETRY:
        return False
    settlement = outcome.settlement
    if settlement is None:
        return True
    if outcome.state == REJECTED and settlement.verdict is Verdict.ACK:
        return False  # the task gave it back: it is sent once more, with a mark
    return settlement.verdict in (Verdict.ACK, Verdict.DEAD)


def let_go(desk: Desk, delivery: Delivery, handler: Handler, codecs: Codecs, owner: str) -> None:
    """Give back what a task held whose process is dead, and whose end somebody else has recorded.

    Parameters:
        owner: the name under which that process leased messages.

    Raises:
        GreenqError: the store of limits fails.
    """
    message, rules = delivery.message, handler.task.rules
    if message is None or rules is None:
        return
    held = held_by(message)
    if held is not None:
        desk.store.free([held[1:]], desk.timeout)
    call = read(message, codecs)
    limits = rules.limits_for(call.args, call.kwargs)
    desk.store.leave(Ask(call.headers["id"], owner, 0.0, limits).slots(), desk.timeout)
