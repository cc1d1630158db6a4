"""The text of a message on a Redis list, as kombu writes and reads it.

Source: kombu.transport.virtual.base (``prepare_message``, ``_inplace_augment_message``, ``Base64``).
"""

from __future__ import annotations

import json
import os
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from datetime import UTC, datetime
from typing import Any

from greenq.errors import PublishError
from greenq.message import Message, flaw

__all__ = ["Unreadable", "due_of", "pack", "unpack"]

LARGEST = 380_000_000
"""Bytes of a body: in base64 and with its headers it stays under Redis's 512 MB for a value."""
LONGEST_NAME = 10_000
"""Bytes of a queue's name, which is part of many keys."""


class Unreadable(Exception):
    """What was found is no message; the argument says why."""


def _extended(value: Any) -> Any:
    from kombu.utils.json import JSONEncoder

    encoder: Any = JSONEncoder()
    return encoder.default(value)


_write = json.JSONEncoder(default=_extended).encode
_plain: Any = json.JSONDecoder()
_scan = _plain.scan_once
_quote = json.encoder.encode_basestring_ascii
_MARKER = b'"__type__"'
_OWN = frozenset({"delivery_mode", "delivery_info", "priority", "body_encoding", "delivery_tag"})
"""Properties that a transport sets: they say how a message travelled, not what it is."""
_USUAL = _OWN | {"correlation_id", "reply_to"}


def _read_extended(raw: bytes) -> Any:
    from kombu.utils.json import object_hook

    return json.loads(raw, object_hook=object_hook)


def pack(message: Message) -> bytes:
    """Write a message as Celery's producer does.

    Raises:
        PublishError: it cannot be sent.
    """
    problem = flaw(message, LARGEST, LONGEST_NAME)
    if problem is not None:
        raise PublishError(f"the message cannot be sent: {problem}; nothing was sent")
    digits = os.urandom(16).hex()
    properties = message.properties
    if not _OWN.isdisjoint(properties):
        properties = {name: value for name, value in properties.items() if name not in _OWN}
    try:
        kept = f"{_write(properties)[1:-1]}, " if properties else ""
        # Byte for byte what json.dumps makes of kombu's dictionary, at half the price.
        return (
            f'{{"body": "{b2a_base64(message.body, newline=False).decode("ascii")}", '
            f'"content-encoding": {_quote(message.content_encoding)}, '
            f'"content-type": {_quote(message.content_type)}, "headers": {_write(message.headers)}, '
            f'"properties": {{{kept}"delivery_mode": 2, '
            f'"delivery_info": {{"exchange": {_quote(message.exchange)}, '
            f'"routing_key": {_quote(message.routing_key or message.queue)}}}, '
            f'"priority": {message.priority}, "body_encoding": "base64", "delivery_tag": '
            f'"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"}}}}'
        ).encode()
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise PublishError(
            f"the message cannot be sent: its headers hold what json can't carry ({error}): "
            "use plain types; nothing was sent"
        ) from error


def unpack(queue: str, raw: bytes) -> Message:
    """Read a message that kombu or greenq wrote.

    Raises:
        Unreadable: it is none.
    """
    try:
        if _MARKER in raw:
            found = _read_extended(raw)
        else:
            # The scanner alone, as json.loads makes three calls of it; that takes outer white space, too, and
            # has the errors.
            text = raw.decode()
            try:
                found, end = _scan(text, 0)
            except StopIteration:
                end = -1
            if end != len(text):
                found = json.loads(text)
        properties = found["properties"]
        headers = found.get("headers")
        body = found["body"]
        encoding = properties.get("body_encoding")
        if encoding == "base64":
            body = a2b_base64(body, strict_mode=True)
        elif encoding is None:
            body = body.encode()
        else:
            raise Unreadable(f"its body has the unknown encoding {encoding!r:.80}")
        content_type, content_encoding = found["content-type"], found["content-encoding"]
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        # What revives kombu's extended types raises almost anything: a Decimal of no number, for one.
        raise Unreadable(_why(raw, error)) from error
    if type(headers) is not dict or type(content_type) is not str or type(content_encoding) is not str:
        if headers is not None or type(content_type) is not str or type(content_encoding) is not str:
            raise Unreadable("its headers, content-type or content-encoding have the wrong type")
        headers = {}  # gocelery leaves them out, as protocol 1 has everything in the body
    if properties.keys() == _USUAL:  # nearly always; a plain literal is several times as fast
        priority = properties["priority"]
        properties = {
            "correlation_id": properties["correlation_id"], "reply_to": properties["reply_to"]
        }  # fmt: skip
    else:
        priority = properties.get("priority")
        properties = {name: value for name, value in properties.items() if name not in _OWN}
    if type(priority) is not int:
        priority = 0
    elif not 0 <= priority <= 9:
        priority = 0 if priority < 0 else 9
    return Message(queue, headers, body, content_type, content_encoding, properties, priority)


def _why(raw: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON ({error.msg} at {error.pos})"
    if isinstance(error, Base64Error):
        return f"its body is not base64 ({error})"
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return f"it does not have the shape of a message ({type(error).__name__}: {error})"


def due_of(message: Message) -> float | None:
    """When a message may run at the earliest, by its header ``eta``: seconds since the epoch, or None."""
    eta = message.headers.get("eta")
    if type(eta) is not str:
        return None
    try:
        when = datetime.fromisoformat(eta)
        return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
