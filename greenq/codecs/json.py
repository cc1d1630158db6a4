"""JSON as kombu writes it: bytes, dates, Decimal, UUID and registered types included.

What needs kombu's extended types asks kombu, at the first such value; all else is plain JSON.
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from greenq.codecs.base import Codec
from greenq.codecs.nesting import CONTAINER, MAX_DEPTH, check_depth, too_deep, too_many
from greenq.errors import DecodeError, EncodeError

__all__ = ["JsonCodec"]

MARKER = "__type__"
ESCAPED = re.compile(r"\\u00[567]").search
"""Finds an escaped small letter or underscore, behind which the marker could hide."""
PIECE = 1 << 20
"""Bytes looked at together where texts are left out of the count."""


def _extended(value: Any) -> Any:
    from kombu.utils.json import JSONEncoder

    try:
        encoder: Any = JSONEncoder()
        return encoder.default(value)
    except TypeError as error:
        if not str(error).endswith("is not JSON serializable"):
            raise
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise EncodeError(
            f"json cannot carry a value of type {kind}: convert it, give the type a method __json__, "
            "or register it with kombu.utils.json.register_type"
        ) from error


def _revive(pairs: dict[str, Any]) -> Any:
    from kombu.utils.json import object_hook

    try:
        return object_hook(pairs)
    except ValueError as error:
        if error.args[:1] == ("Unsupported type",):
            raise DecodeError(
                f"the json body holds a value of the unknown type {pairs[MARKER]!r:.80}: "
                "register it with kombu.utils.json.register_type before the worker starts"
            ) from error
        raise


def _opened_outside_texts(data: bytes) -> int:
    """Count the lists and dicts; in pieces, as splitting a large body at once takes many times its size."""
    data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    opened = inside = 0
    for start in range(0, len(data), PIECE):
        parts = data[start : start + PIECE].split(b'"')
        outside = b"".join(parts[inside::2])
        opened += outside.count(b"[") + outside.count(b"{")
        inside ^= (len(parts) - 1) & 1
    return opened


_write = json.JSONEncoder(default=_extended).encode
_plain: Any = json.JSONDecoder()
_scan_plain = _plain.scan_once
_read_extended = json.JSONDecoder(object_hook=_revive).decode


class JsonCodec(Codec):
    """The default: read by everything, safe.

    Source: kombu.utils.json, whose output this repeats byte for byte.
    """

    name: ClassVar[str] = "json"
    content_type: ClassVar[str] = "application/json"
    encoding: ClassVar[str] = "utf-8"

    def encode(self, value: Any) -> bytes:
        """Turn `value` into bytes; see `Codec`."""
        try:
            return _write(value).encode()
        except RecursionError as error:
            raise EncodeError("the value is nested too deep for json") from error
        except (TypeError, ValueError) as error:
            raise EncodeError(f"json cannot carry this: {error}") from error

    def decode(self, data: bytes, max_size: int) -> Any:
        """Turn bytes into the value; see `Codec`."""
        # Most bodies are shorter than the least that could break a bound: those are not counted.
        large = len(data) > MAX_DEPTH or len(data) > max_size // CONTAINER
        opened = data.count(b"[") + data.count(b"{") if large else 0
        if opened > max_size // CONTAINER:
            opened = _opened_outside_texts(data)
            if opened > max_size // CONTAINER:
                raise too_many(self.name, max_size)
        try:
            text = data.decode()
            if MARKER in text or ("\\u00" in text and ESCAPED(text)):
                value = _read_extended(text)
            else:
                # The scanner alone spares two calls per message; json.loads takes what it does not: outer
                # white space, and the errors.
                try:
                    value, end = _scan_plain(text, 0)
                except StopIteration:
                    end = -1
                if end != len(text):
                    value = json.loads(text)
        except RecursionError as error:
            raise too_deep(self.name) from error
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            raise DecodeError(f"the body is not valid json: {error}") from error
        if opened > MAX_DEPTH:
            check_depth(value, self.name)
        return value
