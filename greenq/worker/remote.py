"""Wires what lets a worker be watched and steered from elsewhere: events, remote control, revocations.

Nothing here is on a message's way: where nobody asks for anything, a message does not know of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from greenq.control import controlling, inspecting
from greenq.control.revocations import Revocations
from greenq.events.clock import Clock
from greenq.events.event import EventMaker
from greenq.radio import Radio
from greenq.worker.duties.autoscale import Autoscale
from greenq.worker.duties.control import Control
from greenq.worker.duties.events import Events
from greenq.worker.elections import Elections
from greenq.worker.revoking import Revoker
from greenq.worker.steered import Parts, Steered

__all__ = ["Remote"]

COMMANDS = (inspecting, controlling)
"""The modules whose commands are there as soon as they are imported."""


ANSWER_WITHIN = 1.0
"""Seconds of silence after which no other worker is expected to tell what it knows."""


class Remote:
    """The duties of one worker that have to do with others who watch and steer it.

    Parameters:
        parts: of the worker.
    """

    def __init__(self, parts: Parts) -> None:
        app, settings = parts.app, parts.app.settings
        wants = settings.control.enabled or settings.events.heartbeat is not None or settings.events.tasks
        self._radio: Radio | None = parts.broker.radio() if wants else None
        self._clock: Clock = app.clock
        timeout = settings.broker.timeout
        self._events = Events(
            EventMaker(parts.node, self._clock), self._radio, settings.events.exchange,
            settings.events.heartbeat, timeout, parts.consumer, parts.settler,
        )  # fmt: skip
        self._wants_tasks = settings.events.tasks
        self._exchange = settings.events.exchange
        self._node = parts.node
        self._app = app
        revocations = Revocations(settings.control.revoked_most, settings.control.revoked_for)
        self._revoker = Revoker(
            revocations, self._radio, parts.store, parts.pool, parts.consumer, parts.runner, parts.settler,
            timeout, settings.results.expires,
        )  # fmt: skip
        name = f"{parts.node}.{os.getpid()}"
        topics: dict[str, Callable[[Any], None]] = {"task": lambda task: app.signature(task).apply_async()}
        self._elections = Elections(name, app.codecs, self._events.tell, topics)
        self.state = Steered(parts, self._clock, self._revoker, self._events, self._elections)
        self._control: Control | None = None
        if self._radio is not None and settings.control.enabled:
            self._control = Control(self.state, self._radio, settings.control.namespace, app.codecs, timeout)
            self._control.chores += [self._mark, self._elections.count]
        self._autoscale: Autoscale | None = None
        if (bounds := settings.worker.autoscale) is not None:
            most, least = bounds_of(bounds)
            self._autoscale = Autoscale(
                parts.pool, parts.broker, parts.consumer, most, least, parts.consumer.room_for
            )
            self.state.autoscaler = self._autoscale

    def _mark(self) -> float | None:
        self._revoker.mark()
        return self._revoker.due

    def prepare(self) -> None:
        """Learn what is revoked, and listen; before anything is fetched."""
        self._revoker.recall()
        if self._control is not None and self._radio is not None:
            control = self._control
            if self._radio.carries_events:
                elected = self._elections.take
                self._radio.follow(
                    self._exchange, self._node, "worker.elect",
                    lambda post: control.soon(lambda: elected(post)),
                )  # fmt: skip
            control.listen()
            if not self._radio.remembers:
                control.soon(self._ask_the_others)
        if self._wants_tasks:
            self._events.switch(True)

    def _ask_the_others(self) -> None:
        """Learn from the other workers what is revoked, as the broker does not remember it."""
        known = self._revoker.revocations
        found = self._app.control.inspect(timeout=ANSWER_WITHIN).hello(self._node, known.ids()) or {}
        for answer in found.values():
            if isinstance(answer, dict):
                known.add([id for id in answer.get("revoked") or () if isinstance(id, str)])
                self._clock.adjust(answer.get("clock"))
        self._revoker.look()

    def services(self) -> Iterator[tuple[Callable[[], None], str]]:
        """What runs beside the pool's calls, each with its name."""
        if self._events.available:
            yield self._events.run, "events"
        if self._control is not None:
            yield self._control.run, "control"
        if self._autoscale is not None:
            yield self._autoscale.run, "autoscale"

    def stop(self) -> None:
        """End all of it: the last thing that is told is that the worker goes."""
        if self._autoscale is not None:
            self._autoscale.stop()
        if self._control is not None:
            self._control.stop()
        self._events.stop()

    def close(self) -> None:
        """Listen no more, once the services have ended."""
        if self._radio is not None:
            self._radio.close()


def bounds_of(text: str) -> tuple[int, int]:
    """Read ``MAX,MIN``; the configuration has checked it."""
    most, _, least = text.partition(",")
    return int(most), int(least or 1)
