"""A message's properties and headers as AMQP carries them: what Celery's workers and producers see."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from struct import error as struct_error
from struct import pack, unpack_from
from typing import Any

from greenq.amqp.tables import CUT_OFF, Malformed, Unfit, short, table_at, write_table
from greenq.errors import PublishError
from greenq.message import Message

__all__ = [
    "ATTEMPTS", "DEAD", "TRIAL", "Unreadable", "attempts_of", "due_of", "pack_header", "read_header",
    "unpack",
]  # fmt: skip

ATTEMPTS = "x-greenq-attempts"
"""How many deaths are counted against a message."""
TRIAL = "x-greenq-trial"
"""By which a copy is recognised that takes its original's place; always beside a count."""
DUE = "x-greenq-due"
"""When a message is due whose headers have no ``eta``: seconds since the epoch."""
DEAD = "x-greenq-dead"
"""Why and when a dead letter died."""
DEATHS = "x-death"
FIRST_DEATH = "x-first-death-queue"
DELIVERY_COUNT = "x-delivery-count"
DELAY = "greenq.delay."
"""How the names of greenq's delay exchanges begin."""

CONTENT_TYPE, CONTENT_ENCODING, HEADERS, MODE, PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
FIRST = ("content_type", CONTENT_TYPE), ("content_encoding", CONTENT_ENCODING)
TEXTS = (
    ("correlation_id", 1 << 10), ("reply_to", 1 << 9), ("expiration", 1 << 8), ("message_id", 1 << 7),
    ("timestamp", 1 << 6), ("type", 1 << 5), ("user_id", 1 << 4), ("app_id", 1 << 3), ("cluster_id", 1 << 2),
)  # fmt: skip


class Unreadable(Exception):
    """The properties of a message are not what AMQP has."""


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────


def pack_header(message: Message, extra: Mapping[str, Any] | None = None, expiring: bool = True) -> bytes:
    """Encode everything of a message but its body.

    Parameters:
        extra: more headers.
        expiring: keep the property ``expiration``, by which the server drops a message.

    Raises:
        PublishError: AMQP cannot carry it.
    """
    headers = {**message.headers, **extra} if extra else message.headers
    properties = message.properties
    try:
        flags = CONTENT_TYPE | CONTENT_ENCODING | HEADERS | MODE | PRIORITY
        parts = [
            short(message.content_type, "the content type"),
            short(message.content_encoding, "the content encoding"),
            write_table(headers),
            b"\1" if properties.get("delivery_mode") == 1 else b"\2",
            bytes((message.priority,)),
        ]
        for name, bit in TEXTS:
            value = properties.get(name)
            if value is not None and (expiring or name != "expiration"):
                flags |= bit
                parts.append(_timestamp(value) if name == "timestamp" else short(value, name))
    except (Unfit, AttributeError, TypeError, ValueError, struct_error, RecursionError) as error:
        raise PublishError(f"the message cannot be sent over AMQP: {error}") from error
    return pack(">H", flags) + b"".join(parts)


def _timestamp(value: Any) -> bytes:
    return pack(">Q", int(value.timestamp() if isinstance(value, datetime) else value))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def read_header(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Properties and headers of the payload of a content header (class, weight, size, flags, …).

    Raises:
        Unreadable: it is malformed.
    """
    at = 14
    properties: dict[str, Any] = {}
    headers: dict[str, Any] = {}
    try:
        (flags,) = unpack_from(">H", data, 12)
        for name, bit in FIRST:
            if flags & bit:
                end = at + 1 + data[at]
                properties[name] = data[at + 1 : end].decode()
                at = end
        if flags & HEADERS:
            headers, at = table_at(data, at, 0)
        if flags & MODE:
            properties["delivery_mode"] = data[at]
            at += 1
        if flags & PRIORITY:
            properties["priority"] = data[at]
            at += 1
        if flags & 0x07FC:
            for name, bit in TEXTS:
                if flags & bit:
                    if name == "timestamp":
                        (properties[name],) = unpack_from(">Q", data, at)
                        at += 8
                    else:
                        end = at + 1 + data[at]
                        properties[name] = data[at + 1 : end].decode()
                        at = end
    except (Malformed, *CUT_OFF) as error:
        raise Unreadable(str(error)) from error
    if at > len(data):
        raise Unreadable("the properties are cut off")
    return properties, headers


def attempts_of(notes: Mapping[str, Any]) -> int:
    """How many deaths greenq noted."""
    noted = notes.get(ATTEMPTS)
    return noted if isinstance(noted, int) and 0 < noted < 1 << 31 else 0


def unpack(queue: str, header: bytes, body: bytes) -> tuple[Message, int | None, dict[str, Any]]:
    """Make the message of what came.

    Returns:
        It; how often it came back to its queue, by the server's count, None if it keeps none; and what
        greenq noted about it.

    Raises:
        Unreadable: the properties are malformed.
    """
    properties, headers = read_header(header)
    notes: dict[str, Any] = {}
    count = headers.pop(DELIVERY_COUNT, None)
    if ATTEMPTS in headers:
        notes[ATTEMPTS] = headers.pop(ATTEMPTS)
        headers.pop(TRIAL, None)
    if DEAD in headers:
        notes[DEAD] = headers.pop(DEAD)
    if FIRST_DEATH in headers and str(headers[FIRST_DEATH]).startswith(DELAY):
        _forget_delays(headers)
    content_type = properties.pop("content_type", "application/json")
    content_encoding = properties.pop("content_encoding", "utf-8")
    priority = properties.pop("priority", 0)
    if properties.get("delivery_mode") == 2:
        del properties["delivery_mode"]
    due = headers.pop(DUE, None)
    message = Message(
        queue, headers, body, content_type, content_encoding, properties, priority,
        due if isinstance(due, float | int) else None,
    )  # fmt: skip
    return message, count if isinstance(count, int) else None, notes


def _forget_delays(headers: dict[str, Any]) -> None:
    """Drop what the server noted when the message passed through greenq's delay queues."""
    for name in [name for name in headers if name.startswith(("x-first-death-", "x-last-death-"))]:
        del headers[name]
    deaths = headers.get(DEATHS)
    if isinstance(deaths, list):
        others = [
            death
            for death in deaths
            if not (isinstance(death, dict) and str(death.get("queue")).startswith(DELAY))
        ]
        if others:
            headers[DEATHS] = others
        else:
            del headers[DEATHS]


def due_of(message: Message) -> float | None:
    """When it is due by its headers (Celery's ``eta``) or greenq's note; None for now."""
    if message.due is not None:
        return message.due
    eta = message.headers.get("eta")
    if not isinstance(eta, str):
        return None
    try:
        moment = datetime.fromisoformat(eta)
    except ValueError:
        return None
    due = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return due if due > time.time() else None
