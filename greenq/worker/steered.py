"""The worker as remote control sees and changes it: what `greenq.control.state.ControlState` promises."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from greenq.app import GreenQ
from greenq.brokers.base import Broker
from greenq.control.state import Autoscaler, TaskInfo
from greenq.errors import ConfigError
from greenq.events.clock import Clock
from greenq.exchanges import Shape, shapes_of
from greenq.message import Delivery
from greenq.results.base import ResultStore
from greenq.throttling.rules import rules_of
from greenq.worker.consumer import Consumer
from greenq.worker.describing import broker_info, pool_info, queue_info, rusage, scheduled_info, task_info
from greenq.worker.duties.events import Events
from greenq.worker.duties.pausing import Pausing
from greenq.worker.elections import Elections
from greenq.worker.limits import Limits, refuse_impossible_limits, refuse_limits_beyond
from greenq.worker.revoking import Revoker
from greenq.worker.runner import Runner
from greenq.worker.runs import deliveries_of
from greenq.worker.settler import Settler
from pools.base import Call, Pool
from pools.errors import Unsupported

__all__ = ["Parts", "Steered"]

log = logging.getLogger("greenq.control")

FREQUENCY = 5
"""What a heartbeat that was asked for says of the seconds until the next, as Celery's does."""

SHOWN_MOST = 1000
"""Tasks that wait for their time, of which one answer tells: millions may."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker is made of, as far as remote control needs it.

    Parameters:
        open_gate: begins to keep tasks' limits, where none has had any.
        end: lets the worker stop, as after SIGTERM.
        replace: asks for a successor; None where nobody could make one.
    """

    app: GreenQ
    node: str
    pool: Pool
    broker: Broker
    store: ResultStore | None
    runner: Runner
    consumer: Consumer
    settler: Settler
    limits: Limits
    pausing: Pausing
    open_gate: Callable[[], None]
    end: Callable[[str], None]
    replace: Callable[[], Callable[[str], None] | None]


class Steered:
    """See `ControlState`; every method is called by the service that answers remote control.

    Parameters:
        parts: of the worker.
    """

    def __init__(
        self, parts: Parts, clock: Clock, revoker: Revoker, events: Events, elections: Elections
    ) -> None:
        self._parts = parts
        self._runner = parts.runner
        self._consumer = parts.consumer
        self._pool = parts.pool
        self._revoker = revoker
        self._events = events
        self._elections = elections
        self.app = parts.app
        self.hostname = parts.node
        self.clock = clock
        self.revocations = revoker.revocations
        self.autoscaler: Autoscaler | None = None
        self._began = time.time()
        self._shapes: dict[str, Shape] = dict(shapes_of(self.app.settings))

    # ── what it does ─────────────────────────────────────────────────────────────────────────────────────

    def active(self, safe: bool = False) -> list[TaskInfo]:
        return [info for call, one in self._running() if (info := self._info(one, call, safe)) is not None]

    def reserved(self) -> list[TaskInfo]:
        waiting = self._consumer.reserved()
        return [info for one in waiting if (info := self._info(one, None, False)) is not None]

    def scheduled(self) -> list[dict[str, Any]]:
        waiting = self._parts.broker.upcoming(self._parts.pausing.queues, SHOWN_MOST)
        return [info for one in waiting if (info := scheduled_info(self._runner, one)) is not None]

    def find(self, ids: Collection[str]) -> dict[str, tuple[str, TaskInfo]]:
        found = {info["id"]: ("reserved", info) for info in self.reserved() if info["id"] in ids}
        return found | {info["id"]: ("active", info) for info in self.active() if info["id"] in ids}

    def _running(self) -> list[tuple[Call, Delivery]]:
        return [(call, one) for call in self._consumer.running() for one in deliveries_of(call.tag)]

    def _info(self, delivery: Delivery, call: Call | None, safe: bool) -> TaskInfo | None:
        return task_info(self._runner, delivery, call, safe)

    def stats(self) -> dict[str, Any]:
        settings = self.app.settings
        handlers = self._runner.handlers
        told = {
            "total": {name: one.tally[0] for name, one in handlers.items() if one.tally[0]},
            "pid": os.getpid(),
            "clock": str(self.clock.value),
            "uptime": round(time.time() - self._began),
            "pool": pool_info(
                self._pool,
                settings.tasks.soft_time_limit,
                settings.tasks.time_limit,
                settings.worker.max_tasks,
            ),
            "broker": broker_info(settings.broker.url, settings.worker.lease, settings.broker.timeout),
            "prefetch_count": self._pool.capacity + (settings.worker.prefetch or 0),
            "rusage": rusage(),
        }
        if self.autoscaler is not None:
            told["autoscaler"] = {
                "max": self.autoscaler.most, "min": self.autoscaler.least, "current": self._pool.capacity,
                "qty": self._pool.busy,
            }  # fmt: skip
        return told

    def queues(self) -> list[dict[str, Any]]:
        return queue_info(self._parts.pausing.queues, self._shapes)

    # ── revoking ─────────────────────────────────────────────────────────────────────────────────────────

    def revoke(self, ids: Collection[str]) -> None:
        self._revoker.revoke(ids)

    def revoke_stamped(self, stamps: Mapping[str, Sequence[str]]) -> None:
        self._revoker.revoke_stamped(stamps)

    def stamped(self, stamps: Mapping[str, Sequence[str]]) -> dict[str, set[tuple[str, str]]]:
        return self._revoker.stamped(stamps)

    def terminate(self, ids: Collection[str], signum: int) -> list[str]:
        return self._revoker.terminate(ids, signum)

    # ── changing ─────────────────────────────────────────────────────────────────────────────────────────

    def limit_rate(self, task: str, rate: str | int | float | None) -> None:
        handler = self._runner.handlers[task]
        made = handler.task
        declared = dict(made.rules.declared) if made.rules is not None else {}
        fn = None if handler.batch is not None else made.run
        unique_for = self.app.settings.throttling.unique_for
        rules = rules_of(task, fn, {**declared, "rate_limit": rate}, unique_for)
        if rules is not None and rules.limits:
            self._parts.open_gate()  # first: it may be refused
        made.rules = rules
        self.app.throttling.heed(task, rules)
        log.info("%s: the rate limit is %s now", task, rate or "off")

    def limit_time(self, task: str, soft: float | None, hard: float | None) -> None:
        handlers, features = self._runner.handlers, self._pool.features
        changed = dataclasses.replace(handlers[task], soft_time_limit=soft, time_limit=hard)
        refuse_impossible_limits(self._pool.name, features, [changed])
        refuse_limits_beyond(self._parts.broker.guarantees.longest_hold, [changed])
        handlers[task] = changed
        self._parts.limits.look_always()
        log.info("%s: the time limits are soft=%s hard=%s now", task, soft, hard)

    def resize(self, by: int) -> None:
        size = self._pool.capacity + by
        if size < 1:
            raise ValueError(f"the pool has {self._pool.capacity} slots, and at least one must stay")
        self._pool.resize(size)
        self._resized(size)

    def _resized(self, size: int) -> None:
        self._parts.consumer.room_for(size)

    def restart(self) -> None:
        replace = self._parts.replace()
        if replace is None:
            raise Unsupported("this worker is part of another program, which has to replace it")
        replace("remote control asked for it")

    def add_queue(self, queue: str, exchange: str | None, type: str, routing_key: str | None) -> None:
        parts = self._parts
        if queue in parts.pausing.queues:
            return
        settings = self.app.settings
        if queue not in settings.queues and not settings.tasks.create_missing_queues:
            raise ConfigError(f"there is no queue {queue!r:.80}, and tasks.create_missing_queues is off")
        if exchange and exchange != queue and queue not in settings.queues:
            key = routing_key or queue
            self._shapes[queue] = Shape(name=queue, exchange=exchange, type=type, keys=(key,))
            parts.broker.shape(self._shapes)
        parts.broker.declare([queue])
        parts.pausing.choose([*parts.pausing.queues, queue])
        log.info("this worker takes from %s too", queue)

    def cancel_queue(self, queue: str) -> None:
        pausing = self._parts.pausing
        left = [name for name in pausing.queues if name != queue]
        if len(left) < len(pausing.queues):
            pausing.choose(left)
            log.info("this worker takes from %s no more", queue)

    def shutdown(self, why: str) -> None:
        log.warning("stopping: %s", why)
        self._parts.end("shutdown")

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────

    def switch_events(self, on: bool) -> bool:
        if not self._events.available:
            raise Unsupported("nobody can hear events on this broker: use Redis or RabbitMQ")
        return self._events.switch(on)

    def heartbeat(self) -> None:
        self._events.heartbeat(FREQUENCY)

    def elect(self, id: str, topic: str, action: Any) -> None:
        self._elections.hold(id, topic, action)
