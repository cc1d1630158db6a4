"""Celery's own delayed delivery, for fleets whose producers use it: quorum queues behind topic exchanges.

Source: kombu/transport/native_delayed_delivery.py; names, arguments and bindings must be equal to its.
"""

from __future__ import annotations

from collections.abc import Sequence

from greenq.amqp import methods
from greenq.amqp.failures import Refused
from greenq.amqp.line import Session

__all__ = ["join"]

LEVELS = 28
DELIVERY = "celery_delayed_delivery"


def _level(number: int) -> str:
    return f"celery_delayed_{number}"


def join(session: Session, queues: Sequence[str], deadline: float) -> None:
    """Make Celery's delay queues, if they are not there, and let what leaves them reach these queues.

    Raises:
        Refused: they are there and otherwise, such as classic ones, or the server does not let us.
    """
    frames = []
    for number in range(LEVELS - 1, -1, -1):
        after = _level(number - 1) if number else DELIVERY
        arguments = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-message-ttl": 1000 << number,
            "x-dead-letter-exchange": after,
            "x-dead-letter-strategy": "at-least-once",
        }
        stars = "*." * (LEVELS - 1 - number)
        frames += [
            methods.declare_exchange(1, after, "topic"),
            methods.declare_exchange(1, _level(number), "topic"),
            methods.declare_queue(1, _level(number), arguments=arguments),
            methods.bind_queue(1, _level(number), _level(number), f"{stars}1.#"),
            methods.bind_exchange(1, after, _level(number), f"{stars}0.#"),
        ]
    frames += [methods.bind_queue(1, queue, DELIVERY, f"#.{queue}") for queue in queues]
    try:
        session.together(frames, deadline)
    except Refused as refused:
        raise Refused(f"Celery's delayed delivery cannot be joined: {refused}", refused.code) from refused
