"""What travels, as plain data: messages out, deliveries in, results and outcomes back.

Nothing here does I/O or knows a broker. The headers and the body's shape are Celery's task protocol, which
`greenq.protocol` writes and reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from greenq.chords import ChordOpening, ChordPart

__all__ = [
    "EXCEPTION_STATES",
    "FAILURE",
    "PENDING",
    "READY_STATES",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "DeadLetter",
    "Delivery",
    "Depth",
    "Message",
    "Outcome",
    "Result",
    "Settlement",
    "Verdict",
    "flaw",
]

# Celery's state names (celery.states).
PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
RETRY = "RETRY"
REVOKED = "REVOKED"
REJECTED = "REJECTED"

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
"""Terminal states: once stored, no later delivery overwrites them."""
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})


@dataclass(slots=True)
class Message:
    """One task message on its way to a broker, or as a broker gave it back.

    Parameters:
        queue: the name of the queue that it goes to or came from.
        headers: task protocol 2 (``id``, ``task``, ``eta``, ``retries``, …).
        body: the encoded (and, if the header ``compression`` says so, compressed) arguments.
        content_type, content_encoding: of the body, before compression.
        properties: ``correlation_id``, ``reply_to``, … as AMQP names them.
        priority: 0 to 9, as the broker orders them: on Redis 0 runs first, as with Celery there; on all
            others a higher number does.
        due: seconds since the epoch before which it must not run; None for now.
        exchange, routing_key: where it is sent instead of straight to the queue, which is then only what
            errors name; all queues that the exchange finds by the key get it.
    """

    queue: str
    headers: dict[str, Any]
    body: bytes
    content_type: str
    content_encoding: str
    properties: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    due: float | None = None
    exchange: str = ""
    routing_key: str = ""


def flaw(message: Message, largest: int, longest_name: int | None = None) -> str | None:
    """Say what keeps a message from being kept by a broker, or None; its headers are not looked at.

    Parameters:
        largest: bytes that its body may have.
        longest_name: bytes that its queue's name may have; None for any number.
    """
    queue, due = message.queue, message.due
    if not isinstance(queue, str) or not queue:
        return "its queue has no name: give it a queue, or set tasks.queue"
    try:
        size = len(queue.encode())
    except UnicodeEncodeError:
        return f"the queue's name {queue!a} is not valid Unicode: rename the queue"
    if longest_name is not None and size > longest_name:
        return f"the queue's name is longer than {longest_name:,} bytes: rename the queue"
    if not isinstance(message.body, bytes):
        return f"its body is {type(message.body).__name__}, not bytes: encode it first"
    if len(message.body) > largest:
        return f"its body has {len(message.body)} bytes, {largest} is the most: pass a reference to the data"
    if type(message.priority) is not int or not 0 <= message.priority <= 9:
        return f"its priority is {message.priority!r}: choose 0 to 9"
    if due is not None and (not isinstance(due, (int, float)) or not -1e15 < due < 1e15):
        return f"its due time is {due!r}: give seconds since the epoch"
    return None


@dataclass(slots=True)
class Delivery:
    """One message leased to this process.

    Parameters:
        message: None if the broker could not make one of what it found; `problem` then says why.
        queue: where it was fetched from; it goes back, or to the dead letters of, this queue.
        token: the broker's own: names the message and fences its lease.
        attempts: how many deaths of processes are counted against it; more than 0 makes it suspect. What
            a process held when it died has 1 from then on; each further one must be charged to it
            (`Broker.charge`). Putting it back (requeue, retry-at, a process's own release) does not count.
        problem: why the envelope cannot be read; such a delivery is dead-lettered, never run.
        raw: what was found, if `problem` is set.
    """

    message: Message | None
    queue: str
    token: Any
    attempts: int = 0
    problem: str | None = None
    raw: bytes = b""


class Verdict(Enum):
    """What becomes of a delivery."""

    ACK = "ack"
    """It is done: forget it."""
    RETRY_AT = "retry-at"
    """Put it back, not to be delivered before `Settlement.due`."""
    REQUEUE = "requeue"
    """Put it back at once, at the front of its priority."""
    DEAD = "dead"
    """Keep it with its reason in the queue's dead letters."""


@dataclass(slots=True)
class Settlement:
    """The end of one lease.

    Parameters:
        due: seconds since the epoch, with RETRY_AT.
        reason: why, with DEAD; shown to people.
        trace: the traceback that belongs to it, if there is one.
    """

    delivery: Delivery
    verdict: Verdict
    due: float | None = None
    reason: str | None = None
    trace: str | None = None


@dataclass(slots=True)
class Result:
    """What is stored of one task, in Celery's terms.

    Parameters:
        id: the task's id.
        state: one of the states above, or a task's own.
        value: the return value, or for exception states ``{"exc_type", "exc_message", "exc_module"}``;
            None after encoding, when `payload` holds it.
        traceback: of the exception, as text.
        children: the results of the tasks that this one sent, as ``[[id, parent], children]`` pairs.
        date_done: ISO 8601 in UTC.
        payload: the whole record as the store keeps it, made by `ResultStore.encode`.
        expires: seconds after which the store may forget it; None keeps it.
        extra: further keys of Celery's record (``group_id``, ``parent_id``, ``name``, ``worker``, …).
        reply_to: the queue that the call wants its result in; only stores that send results care.
    """

    id: str
    state: str
    value: Any = None
    traceback: str | None = None
    children: list[Any] = field(default_factory=list)
    date_done: str | None = None
    payload: bytes = b""
    expires: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    reply_to: str | None = None


@dataclass(slots=True)
class Outcome:
    """All that one run of a task has to leave behind: openings, publishes, results and parts, settlement.

    Parameters:
        delivery: what was run.
        publishes: its children: a retry, callbacks, the next link of a chain. Their ids are fixed before
            the first publish, so that a rerun repeats them instead of adding more.
        openings: the chords among its children; said to the store before anything is published.
        result: what to store; None if nothing is.
        settlement: None if the delivery was settled before the task began (``acks_late=False``).
        state: how it ended (SUCCESS, FAILURE, RETRY, …), for counters, logs and events.
        seconds: how long the function ran.
        further: results of other tasks that its end decides: those that were to follow it and never will.
        parts: what it counts for in chords; stored with its result.
        shown: what it returned or raised as text, and the traceback; only known where events are sent.
        signum: the signal that a running task was ended with when it was revoked.
    """

    delivery: Delivery
    publishes: tuple[Message, ...] = ()
    result: Result | None = None
    settlement: Settlement | None = None
    state: str = SUCCESS
    seconds: float = 0.0
    openings: tuple[ChordOpening, ...] = ()
    further: tuple[Result, ...] = ()
    parts: tuple[ChordPart, ...] = ()
    shown: tuple[str, str | None] | None = None
    signum: int | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up, kept until someone replays or purges it.

    Parameters:
        key: names it among its queue's dead letters.
        died: seconds since the epoch.
        message: None if the envelope could not be read; `raw` then has it.
    """

    key: str
    queue: str
    reason: str
    died: float
    message: Message | None
    raw: bytes = b""
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds, by what they wait for.

    Parameters:
        by_priority: the ready ones by priority, where the broker knows.
    """

    ready: int = 0
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    by_priority: Mapping[int, int] = field(default_factory=dict, compare=False)
