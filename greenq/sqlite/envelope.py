"""How a message's headers and properties are kept: one msgpack array beside the body."""

from __future__ import annotations

import math
from typing import Any

import msgpack  # type: ignore[import-untyped]

from greenq.errors import PublishError
from greenq.message import Message

__all__ = ["Unreadable", "check", "pack", "unpack"]

LARGEST = 500_000_000
"""Bytes of a body, or of all headers: together they stay under SQLite's limit for a row."""


class Unreadable(Exception):
    """What was found is no envelope; the argument says why."""


def check(message: Message) -> str | None:
    """Say what keeps a message from being kept, or None."""
    if not isinstance(message.queue, str) or not message.queue:
        return "its queue has no name: give it a queue, or set tasks.queue"
    try:
        message.queue.encode()
    except UnicodeEncodeError:
        return f"the queue's name {message.queue!a} is not valid Unicode: rename the queue"
    if not isinstance(message.body, bytes):
        return f"its body is {type(message.body).__name__}, not bytes: encode it first"
    if len(message.body) > LARGEST:
        return f"its body has {len(message.body)} bytes, {LARGEST} is the most: pass a reference to the data"
    if type(message.priority) is not int or not 0 <= message.priority <= 9:
        return f"its priority is {message.priority!r}: choose 0 to 9"
    due = message.due
    if due is not None and (not isinstance(due, (int, float)) or not math.isfinite(due)):
        return f"its due time is {due!r}: give seconds since the epoch"
    return None


def pack(message: Message) -> bytes:
    """Turn all of a message but its body and queue into bytes.

    Raises:
        PublishError: it cannot be kept.
    """
    problem = check(message)
    if problem is None:
        try:
            packed: bytes = msgpack.packb(
                [
                    message.headers,
                    message.properties,
                    message.content_type,
                    message.content_encoding,
                    message.due,
                ],
                unicode_errors="surrogatepass",
            )
            if len(packed) <= LARGEST:
                return packed
            problem = f"its headers have {len(packed)} bytes, {LARGEST} is the most"
        except (TypeError, ValueError, OverflowError) as error:
            problem = f"its headers hold what msgpack can't carry ({error}): use plain types"
    raise PublishError(f"the message cannot be kept: {problem}; nothing was sent")


def unpack(queue: str, rank: Any, packed: Any, body: Any) -> Message:
    """Undo `pack`.

    Raises:
        Unreadable: somebody else wrote it, or it is damaged.
    """
    if not isinstance(packed, bytes) or not isinstance(body, bytes):
        raise Unreadable("the stored message has no headers or no body")
    try:
        fields = msgpack.unpackb(packed, strict_map_key=False, unicode_errors="surrogatepass")
        headers, properties, content_type, content_encoding, due = fields
    except Exception as error:
        raise Unreadable(f"the stored headers cannot be read: {type(error).__name__}: {error}") from error
    if (
        not isinstance(headers, dict)
        or not isinstance(properties, dict)
        or not isinstance(content_type, str)
        or not isinstance(content_encoding, str)
        or not (due is None or isinstance(due, (int, float)))
    ):
        raise Unreadable("the stored headers do not have the shape of a message")
    return Message(queue, headers, body, content_type, content_encoding, properties, -rank, due)
