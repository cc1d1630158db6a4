"""Tells of calls as they are sent: the event ``task-sent``.

Source: celery/app/amqp.py (``send_task_message``): its fields.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

from greenq.brokers.base import Broker
from greenq.errors import GreenqError
from greenq.events.clock import Clock
from greenq.events.event import EventMaker, posts_of
from greenq.message import Message
from greenq.radio import Radio

__all__ = ["SentEvents"]

log = logging.getLogger("greenq.events")


class SentEvents:
    """Tells of what one process sends; what cannot be told changes nothing of the sending.

    Parameters:
        broker: gives the broker that the events go over.
        exchange: what they are said on.
        timeout: seconds that telling may take.
    """

    def __init__(self, broker: Callable[[], Broker], clock: Clock, exchange: str, timeout: float) -> None:
        self._broker = broker
        self._clock = clock
        self._exchange = exchange
        self._timeout = timeout
        self._heard_by: tuple[Broker, Radio | None] | None = None
        self._maker: EventMaker | None = None
        self._pid = 0
        self._away = False

    def tell(self, messages: Sequence[Message]) -> None:
        """These have been sent."""
        broker = self._broker()
        if self._heard_by is None or self._heard_by[0] is not broker:
            self._heard_by = broker, broker.radio()
        radio = self._heard_by[1]
        if radio is None or not radio.carries_events or not messages:
            return
        if self._maker is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._maker = EventMaker(f"gen{self._pid}@{platform.node()}", self._clock)
        made = [self._maker.make("task-sent", **_fields(message)) for message in messages]
        try:
            radio.publish_events(posts_of(made, self._exchange), self._timeout)
            self._away = False
        except GreenqError as error:
            if not self._away:
                log.warning("nobody is told of what is sent: %s", error)
            self._away = True


def _fields(message: Message) -> dict[str, Any]:
    headers = message.headers
    return {
        "uuid": headers.get("id"), "root_id": headers.get("root_id"), "parent_id": headers.get("parent_id"),
        "name": headers.get("task"), "args": headers.get("argsrepr"), "kwargs": headers.get("kwargsrepr"),
        "retries": headers.get("retries"), "eta": headers.get("eta"), "expires": headers.get("expires"),
        "queue": message.queue, "exchange": message.exchange,
        "routing_key": message.routing_key or message.queue,
    }  # fmt: skip
