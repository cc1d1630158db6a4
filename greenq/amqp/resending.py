"""Messages that greenq sends once more itself: to wait for their time, or to be kept as dead.

Whatever could be received must be possible to send again, or it would hold up its worker for ever.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from greenq.amqp.envelope import ATTEMPTS, DEAD, pack_header
from greenq.amqp.topology import LONGEST_WAIT, dead_name
from greenq.errors import BrokerError, PublishError
from greenq.message import Message, Settlement

__all__ = ["again", "dead_letter", "later"]

LONGEST_REASON, LONGEST_TRACE = 4_000, 32_000
"""Characters that are kept: a header must fit into one frame, 128 KiB by default."""
WIDEST = 100_000
"""Bytes of a message's own headers up to which they stay headers in its dead letter, beside the rest."""
ROUTING = ("CC", "BCC")
"""Headers by which RabbitMQ would put what is sent again into further queues, its own among them."""


def again(message: Message, queue: str, due: float | None = None) -> Message:
    """A copy to be sent once more, by somebody else than its sender and to `queue` alone."""
    headers = message.headers
    if any(name in headers for name in ROUTING):
        headers = {name: value for name, value in headers.items() if name not in ROUTING}
    # RabbitMQ refuses a message whose user_id is not the user of the connection.
    properties = {name: value for name, value in message.properties.items() if name != "user_id"}
    return Message(
        queue, headers, message.body, message.content_type, message.content_encoding, properties,
        message.priority, due,
    )  # fmt: skip


def later(settlement: Settlement) -> tuple[Message, Mapping[str, Any]]:
    """The message that comes again at the settlement's time, or as late as delay queues reach.

    Raises:
        BrokerError: there is none.
    """
    delivery, due = settlement.delivery, settlement.due
    if delivery.message is None or due is None:
        raise BrokerError("a message that cannot be read cannot be put back for later: dead-letter it")
    sent = again(delivery.message, delivery.queue, min(due, time.time() + LONGEST_WAIT))
    return sent, {ATTEMPTS: delivery.attempts} if delivery.attempts else {}


def dead_letter(settlement: Settlement) -> tuple[Message, Mapping[str, Any]]:
    """The message as it is kept in the queue of dead letters."""
    delivery, message = settlement.delivery, settlement.delivery.message
    trace = settlement.trace
    about: dict[str, Any] = {
        "key": f"{uuid.uuid4()}",
        "queue": delivery.queue,
        "reason": _plain(settlement.reason or "")[:LONGEST_REASON],
        "died": time.time(),
        "trace": None if trace is None else _plain(trace)[-LONGEST_TRACE:],
    }
    name = dead_name(delivery.queue)
    raw = delivery.raw
    if message is not None:
        kept = again(message, name)
        kept.properties.pop("expiration", None)
        try:
            header = pack_header(kept)
            if len(header) <= WIDEST:
                return kept, {DEAD: about}
        except PublishError:
            header = b"\0\0"  # no properties at all: what is left of it is its body
        content = b"\0\x3c\0\0" + len(message.body).to_bytes(8, "big") + header
        raw = len(content).to_bytes(4, "big") + content + message.body
    about["problem"] = True
    return Message(name, {}, raw, "application/octet-stream", "binary"), {DEAD: about}


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
