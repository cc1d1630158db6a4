"""Tells whoever listens what happens: to the worker always, to its tasks while that is wanted.

While nobody wants events of tasks, a message costs nothing here: the consumer and the settler do not know
of this duty then. What is to be told waits in a bounded buffer, and goes out many at a time.

Source: celery/worker: heartbeat.py, request.py and strategy.py: which event, with what.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from greenq.errors import GreenqError
from greenq.events.event import Event, EventMaker, posts_of, software
from greenq.message import Delivery, Outcome
from greenq.radio import Radio
from greenq.worker.consumer import Consumer
from greenq.worker.runs import Run
from greenq.worker.settler import Settler
from greenq.worker.told import ended_event, id_of, received_fields
from pools.bell import Bell

__all__ = ["Events"]

log = logging.getLogger("greenq.events")

MOST_WAITING = 10_000
"""Events that wait while the broker is away or slow; of more the oldest are dropped."""
AWAY_FIRST, AWAY_MOST = 0.5, 10.0
"""Seconds between attempts while the broker is away: doubled each time, up to the most."""
LONGEST_REST = 3600.0


class Events:
    """Makes and sends the events of one worker.

    Parameters:
        radio: where they go; None where nobody could hear them.
        exchange: what they are said on.
        heartbeat: seconds between two signs of life; None for none.
        timeout: seconds that sending may take.
    """

    def __init__(
        self,
        maker: EventMaker,
        radio: Radio | None,
        exchange: str,
        heartbeat: float | None,
        timeout: float,
        consumer: Consumer,
        settler: Settler,
    ) -> None:
        self._maker = maker
        self._radio = radio if radio is not None and radio.carries_events else None
        self._exchange = exchange
        self._every = heartbeat
        self._timeout = timeout
        self._consumer = consumer
        self._settler = settler
        self._software = software()
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._bell = Bell()
        self._stopping = False
        self._away = False
        self.tasks = False
        """Whether events of tasks are sent."""

    # ── on and off ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def available(self) -> bool:
        """Whether anybody could hear events."""
        return self._radio is not None

    def switch(self, on: bool) -> bool:
        """Send events of tasks, or none; False if that was so already."""
        if on is self.tasks or self._radio is None:
            return False
        self.tasks = on
        self._consumer.observer = self if on else None
        (self._settler.add_watch if on else self._settler.remove_watch)(self._watch)
        log.info("events of tasks are %s", "sent" if on else "sent no more")
        return True

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────

    def received(self, deliveries: Sequence[Delivery]) -> None:
        """These have been fetched."""
        for delivery in deliveries:
            fields = received_fields(delivery)
            if fields is not None:
                self.tell("task-received", **fields)

    def started(self, runs: Sequence[Run]) -> None:
        """These are about to start."""
        for run in runs:
            id = id_of(run.delivery)
            if id is not None:
                self.tell("task-started", uuid=id)

    def _watch(self, batch: Sequence[Outcome]) -> Callable[[], None] | None:
        """What is about to be committed is told once it is."""
        made = [found for outcome in batch if (found := ended_event(outcome)) is not None]
        if not made:
            return None

        def committed() -> None:
            for type, fields in made:
                self.tell(type, **fields)

        return committed

    def tell(self, type: str, **fields: Any) -> None:
        """Send an event soon; returns at once."""
        self._waiting.append(self._maker.make(type, **fields))
        self._bell.ring()

    def heartbeat(self, frequency: float | None = None) -> None:
        """Tell that the worker is alive, though it may not be time."""
        if frequency is not None:
            self.tell("worker-heartbeat", freq=frequency, **self._software)
        else:
            self._beat("worker-heartbeat")

    def _beat(self, type: str) -> None:
        try:
            load = [round(one, 2) for one in os.getloadavg()]
        except OSError:
            load = [0.0, 0.0, 0.0]
        self.tell(
            type, freq=self._every or 0.0, active=len(self._consumer.running()),
            processed=self._settler.committed, loadavg=load, **self._software,
        )  # fmt: skip

    # ── the service ──────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Send what waits, and signs of life, until `stop`."""
        if self._radio is None:
            return
        self._beat("worker-online")
        due = time.monotonic() + (self._every or LONGEST_REST)
        pause = AWAY_FIRST
        while not self._stopping:
            now = time.monotonic()
            if now >= due:
                due = now + (self._every or LONGEST_REST)
                if self._every is not None:
                    self._beat("worker-heartbeat")
            if self._send():
                pause = AWAY_FIRST
                self._bell.wait(max(0.0, due - time.monotonic()))
            else:
                self._rest(pause)
                pause = min(pause * 2, AWAY_MOST)
        self._beat("worker-offline")
        self._send()

    def _rest(self, seconds: float) -> None:
        """Wait, though more comes to be told meanwhile."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._bell.wait(left)

    def _send(self) -> bool:
        """Send all that waits; False if the broker is away, and what is left waits on."""
        some = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not some or self._radio is None:
            return True
        try:
            self._radio.publish_events(posts_of(some, self._exchange), self._timeout)
        except GreenqError as error:
            if not self._away:
                log.warning("events are not heard for now: %s", error)
            self._away = True
            # What came meanwhile stays behind it; what there is no room for was the oldest.
            room = MOST_WAITING - len(self._waiting)
            self._waiting.extendleft(reversed(some[-room:] if room else []))
            return False
        self._away = False
        return True

    def stop(self) -> None:
        """Say goodbye, and end the service."""
        self.switch(False)
        self._stopping = True
        self._bell.ring()
