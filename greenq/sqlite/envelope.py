"""How a message's headers and properties are kept: one msgpack array beside the body."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]

from greenq.errors import PublishError
from greenq.message import Message, flaw

__all__ = ["Unreadable", "pack", "unpack"]

LARGEST = 500_000_000
"""Bytes of a body, or of all headers: together they stay under SQLite's limit for a row."""


class Unreadable(Exception):
    """What was found is no envelope; the argument says why."""


def pack(message: Message) -> bytes:
    """Turn all of a message but its body and queue into bytes.

    Raises:
        PublishError: it cannot be kept.
    """
    problem = flaw(message, LARGEST)
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
