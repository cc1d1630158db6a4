"""Time limits: soft ones raise in the task, hard ones end it. One duty looks at all that runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

from greenq.brokers.base import Broker
from greenq.errors import ConfigError, SoftTimeLimitExceeded
from greenq.results.base import ResultStore
from greenq.worker.consumer import Consumer
from greenq.worker.handlers import Handler
from greenq.worker.runs import LIMIT, TERMINATED, Run
from pools.base import Call, Features, Pool

__all__ = [
    "Limits",
    "refuse_impossible_limits",
    "refuse_limits_beyond",
    "warn_of_limits",
]

log = logging.getLogger("greenq.limits")

LOOK_EVERY = 0.1
"""Seconds between looks while something with a limit runs: how late a limit may be."""
SHARE = 100
"""A look takes one of so many parts of the time at most: where thousands run, limits may be later."""
CLEANUP = 3.0
"""Seconds that ``finally`` blocks and hooks have after the hard limit, until they are ended too."""
DEAF = 1.0
"""Seconds after that until a task which swallows every end is given up."""
REST = 1.0
"""Seconds between looks while nothing with a limit runs."""
LATE = 0.3
"""Seconds by which a look is late if something has kept all others from running."""


class Limits:
    """Interrupts and ends what runs too long.

    It costs a task nothing: the running calls are looked through a few times a second.

    Parameters:
        is_held_up: whether a call can't run at present because of another one: its limits then wait.
        soft: what is raised in a task at its soft limit.
    """

    def __init__(
        self,
        pool: Pool,
        consumer: Consumer,
        handlers: Iterable[Handler],
        is_held_up: Callable[[Call], bool] = lambda _: False,
        soft: type[SoftTimeLimitExceeded] = SoftTimeLimitExceeded,
    ) -> None:
        self._is_held_up = is_held_up
        self._soft = soft
        self._pool = pool
        self._consumer = consumer
        self._features = pool.features
        self._stopping = threading.Event()
        self._warned: set[str | None] = set()
        self._limited = any(h.time_limit or h.soft_time_limit for h in handlers)
        """Whether a task may have a limit without its message saying so: then there is no rest."""

    def run(self) -> None:
        """Look until `stop`: the duty's service."""
        pause = 0.0
        while True:
            due = self._pool.now() + pause
            if self._stopping.wait(pause):
                return
            # What was over in time, but could not run, gets its turn before it is judged.
            if self._pool.now() > due + LATE and self._stopping.wait(LOOK_EVERY):
                return
            pause, used = REST, time.thread_time()  # others may run meanwhile, which is no time of ours
            if self._look() or self._limited:
                pause = min(max(LOOK_EVERY, SHARE * (time.thread_time() - used)), REST)

    def look_always(self) -> None:
        """A task may have a limit now without its message saying so."""
        self._limited = True

    def stop(self) -> None:
        """End the duty."""
        self._stopping.set()

    def _look(self) -> bool:
        now = self._pool.now()
        any_limited = False
        for call in self._consumer.running():
            run = call.tag
            if run.ending == TERMINATED:
                any_limited = True
                self._end(call, run, now)
                continue
            if run.hard is None and run.soft is None:
                continue
            any_limited = True
            if run.hard is not None and not self._features.kill:
                self._warn(run)
            if not call.started:
                continue
            ran = now - call.started
            if ran >= min(run.hard or ran, run.soft or ran) and self._is_held_up(call):
                continue
            if run.hard is not None and ran >= run.hard and self._features.kill:
                self._end(call, run, now)
            elif run.soft is not None and ran >= run.soft and self._features.interrupt:
                run.soft = None
                self._pool.interrupt(call, self._soft())
        return any_limited

    def _end(self, call: Call, run: Run, now: float) -> None:
        """End what is past its hard limit, or revoked: again and again if need be, and then no more is waited
        for it."""
        ends = run.ending in (LIMIT, TERMINATED)
        if run.ending is None:
            run.ending, run.ended = LIMIT, now
        elif ends and now < run.ended + CLEANUP:
            return
        elif ends and now >= run.ended + CLEANUP + DEAF:
            headers = run.delivery.message.headers if run.delivery.message is not None else {}
            log.error(
                "%a[%a] catches its end and goes on: its slot is free now, and nothing that it still does "
                "counts", headers.get("task"), headers.get("id"),
            )  # fmt: skip
            self._pool.abandon(call)
            return
        self._pool.kill(call)

    def _warn(self, run: Run) -> None:
        """Say once for each task that its caller asked for what this pool can't do."""
        name = run.delivery.message.headers.get("task") if run.delivery.message else None
        if name not in self._warned:
            self._warned.add(name)
            log.warning(
                "%s was sent with a time_limit, which is not kept: %s", name, self._features.why_no_kill
            )


def refuse_impossible_limits(name: str, features: Features, handlers: Iterable[Handler]) -> None:
    """Refuse limits that this kind of pool can't keep, instead of ignoring them.

    Raises:
        ConfigError: names the first task, the reason, and the alternative.
    """
    for handler in handlers:
        where = f"task {handler.task.name} has a"
        if handler.time_limit is not None and not features.kill:
            raise ConfigError(
                f"{where} time_limit of {handler.time_limit:g} s, which the {name} pool can't keep: "
                f"{features.why_no_kill}"
            )
        if handler.soft_time_limit is not None and not features.interrupt:
            raise ConfigError(
                f"{where} soft_time_limit of {handler.soft_time_limit:g} s, which the {name} pool can't "
                f"keep: {features.why_no_interrupt}"
            )


def refuse_limits_beyond(longest: float | None, handlers: Iterable[Handler]) -> None:
    """Refuse limits longer than the time after which the broker takes back what has no end yet.

    Parameters:
        longest: seconds; None for a broker that never does.

    Raises:
        ConfigError: a task has leave to run longer than that, and would then run twice at once.
    """
    for handler in handlers:
        limit = handler.time_limit if handler.acks_late else None
        if longest is not None and limit is not None and limit >= longest:
            raise ConfigError(
                f"task {handler.task.name} has a time_limit of {limit:g} s, but after {longest:g} s the "
                "broker takes its message back (consumer_timeout) and it would run twice: lower the limit, "
                "or raise consumer_timeout on the server and add ?consumer_timeout=SECONDS to broker.url (0 "
                "if it is off)"
            )


def warn_of_limits(
    features: Features, broker: Broker, store: ResultStore | None, handlers: Collection[Handler]
) -> None:
    """Say what limits, or none, will not do here as one may think."""
    warn_of_endless(broker.guarantees.longest_hold, handlers)
    readable = store is not None and store.reply_to is None
    warn_of_untold(features, readable or broker.guarantees.hands_over, handlers)


def warn_of_endless(longest: float | None, handlers: Iterable[Handler]) -> None:
    """Name the tasks without a limit, where the broker takes back what has no end in time.

    Parameters:
        longest: seconds; None for a broker that never does.
    """
    endless = sorted(h.task.name for h in handlers if h.acks_late and h.time_limit is None)
    if longest is not None and endless:
        log.warning(
            "what runs longer than %g s the broker delivers again (consumer_timeout): set tasks.time_limit "
            "below that, or raise consumer_timeout on the server and name it in broker.url "
            "(?consumer_timeout=SECONDS); there is no limit for %s%s",
            longest, ", ".join(endless[:5]), ", …" if len(endless) > 5 else "",
        )  # fmt: skip


def warn_of_untold(features: Features, told: bool, handlers: Iterable[Handler]) -> None:
    """Say where a task that blocks its process at its hard limit may run again, its end recorded nowhere.

    Parameters:
        told: whether who gets the task's message next learns its end: the broker hands the message to who
            records that, or all workers can read the results.
    """
    limited = sorted(h.task.name for h in handlers if h.time_limit is not None and h.acks_late)
    if not told and limited and features.kill and not features.isolated:
        log.warning(
            "a task that lets nothing else run, not even its own end at its time_limit, is run again here, "
            "up to worker.max_deliveries times: set a results.url that all workers can read; that is %s%s",
            ", ".join(limited[:5]), ", …" if len(limited) > 5 else "",
        )  # fmt: skip
