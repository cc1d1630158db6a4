"""AMQP's field tables: the headers of a message and the arguments of a queue, to bytes and back.

Source: https://www.rabbitmq.com/amqp-0-9-1-errata#section_3 (RabbitMQ's letters, which Celery writes).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from struct import Struct, pack
from struct import error as struct_error
from typing import Any

__all__ = ["CUT_OFF", "Malformed", "Unfit", "read_table", "short", "table_at", "write_table"]

DEEPEST = 64
"""Tables and lists inside each other; more is an attack or a mistake."""

_long = Struct(">I")
_pack_long = _long.pack
_unpack_long = _long.unpack_from
_unpack_signed = Struct(">i").unpack_from
_unpack_longlong = Struct(">q").unpack_from
_unpack_double = Struct(">d").unpack_from
_keys: dict[str, bytes] = {}
_names: dict[bytes, str] = {}
MOST_KEPT = 1000
_lists: dict[bytes, tuple[Any, ...]] = {}
"""Short lists of plain values, by how they are written."""
SHORT = 32
"""Bytes of one."""
PLAIN = {int, bool, type(None)}


class Malformed(Exception):
    """What came is no field table."""


class Unfit(Exception):
    """The value cannot be carried in a field table."""


def short(text: str, what: str) -> bytes:
    """Encode a short string: one byte of length, up to 255 of UTF-8.

    Raises:
        Unfit: it is longer, or no valid Unicode.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise Unfit(f"{what} {text!a:.80} is not valid Unicode") from error
    if len(raw) > 255:
        raise Unfit(f"{what} {text!r:.40} has {len(raw)} bytes: AMQP allows 255")
    return bytes((len(raw),)) + raw


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────


def write_table(table: Mapping[str, Any], depth: int = 0) -> bytes:
    """Encode a table, its length before it.

    Raises:
        Unfit: a key or a value cannot be carried.
    """
    if depth > DEEPEST:
        raise Unfit(f"headers are nested more than {DEEPEST} deep")
    parts: list[bytes] = []
    add = parts.append
    for name, value in table.items():
        key = _keys.get(name)
        if key is None:
            key = _key(name)
        add(key)
        if value is None:
            add(b"V")
        elif type(value) is str:
            try:
                raw = value.encode()
            except UnicodeEncodeError:
                raw = value.encode("utf-8", "surrogatepass")
            add(b"S" + _pack_long(len(raw)) + raw)
        else:
            add(_value(value, depth))
    body = b"".join(parts)
    return _pack_long(len(body)) + body


def _key(name: Any) -> bytes:
    if not isinstance(name, str):
        raise Unfit(f"the header {name!r:.40} must be named by a string")
    key = short(name, "the header")
    if len(_keys) < MOST_KEPT:
        _keys[name] = key
    return key


def _value(value: Any, depth: int) -> bytes:
    kind = type(value)
    if kind is bool:
        return b"t\1" if value else b"t\0"
    if isinstance(value, int):
        try:
            return pack(">ci", b"I", value) if -0x80000000 <= value < 0x80000000 else pack(">cq", b"l", value)
        except struct_error as error:
            raise Unfit(f"the number {value!r:.40} in the headers does not fit into 64 bits") from error
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return b"S" + _pack_long(len(raw)) + raw
    if value is None:
        return b"V"
    if isinstance(value, Mapping):
        return b"F" + write_table(value, depth + 1)
    if isinstance(value, list | tuple):
        if depth > DEEPEST:
            raise Unfit(f"headers are nested more than {DEEPEST} deep")
        body = b"".join([_value(item, depth + 1) for item in value])
        return b"A" + _pack_long(len(body)) + body
    return _rarer(value)


def _rarer(value: Any) -> bytes:
    if isinstance(value, float):
        if not isfinite(value):
            # The server can't read one, and answers by ending the connection that all senders share.
            raise Unfit(f"a header cannot carry {value}: RabbitMQ refuses it")
        return pack(">cd", b"d", value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b"x" + _pack_long(len(value)) + bytes(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return pack(">cq", b"T", int(aware.timestamp()))
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        number = int("".join(map(str, digits)) or "0")
        if isinstance(exponent, int) and -255 <= exponent <= 0 and number < 0x80000000:
            return pack(">cBi", b"D", -exponent, -number if sign else number)
    raise Unfit(f"a header cannot carry {type(value).__name__} {value!r:.60}")


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def read_table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    """Decode a table that begins at `at`; also where it ends.

    Raises:
        Malformed: it is none.
    """
    try:
        return table_at(data, at, 0)
    except CUT_OFF as error:
        raise Malformed(f"the headers cannot be read: {error}") from error


CUT_OFF = struct_error, IndexError, UnicodeDecodeError, OverflowError, ValueError, OSError
"""What `table_at` raises besides; OSError is what a time beyond the year 2^31 makes of the calendar."""


def table_at(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    """The same within others, and for whoever handles `CUT_OFF`.

    Raises:
        Malformed: it is none.
    """
    if depth > DEEPEST:
        raise Malformed(f"the headers are nested more than {DEEPEST} deep")
    end = at + 4 + _unpack_long(data, at)[0]
    if end > len(data):
        raise Malformed("the headers are cut off")
    at += 4
    table: dict[str, Any] = {}
    names = _names
    while at < end:
        stop = at + 1 + data[at]
        raw = data[at + 1 : stop]
        name = names.get(raw)
        if name is None:
            name = raw.decode()
            if len(names) < MOST_KEPT:
                names[raw] = name
        kind = data[stop]
        if kind == 0x53:  # S, by far the most frequent
            at = stop + 5 + _unpack_long(data, stop + 1)[0]
            raw = data[stop + 5 : at]
            try:
                table[name] = raw.decode()
            except UnicodeDecodeError:
                table[name] = _text(raw)
        elif kind == 0x56:  # V
            table[name] = None
            at = stop + 1
        elif kind == 0x49:  # I
            table[name] = _unpack_signed(data, stop + 1)[0]
            at = stop + 5
        elif kind == 0x74:  # t
            table[name] = data[stop + 1] != 0
            at = stop + 2
        elif kind == 0x41:  # A, the time limits of every message: nearly always those of the one before
            size = _unpack_long(data, stop + 1)[0]
            raw = data[stop + 1 : stop + 5 + size]
            known = _lists.get(raw)
            if known is not None:
                table[name] = list(known)
                at = stop + 5 + size
            else:
                items, at = _read_list(data, stop + 1, depth + 1)
                table[name] = items
                if size < SHORT and len(_lists) < MOST_KEPT and {*map(type, items)} <= PLAIN:
                    _lists[raw] = tuple(items)
        elif kind == 0x46 and data[stop + 1 : stop + 5] == b"\0\0\0\0":  # F, the stamps of nearly every one
            table[name] = {}
            at = stop + 5
        else:
            table[name], at = _read_value(data, stop, depth)
    if at != end:
        raise Malformed("a header is longer than its table")
    return table, end


def _text(raw: bytes) -> Any:
    """A long string is text where it can be; Celery's client reads it so."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw


_FIXED = {
    0x62: Struct(">b"), 0x42: Struct(">B"), 0x73: Struct(">h"), 0x55: Struct(">h"), 0x75: Struct(">H"),
    0x69: Struct(">I"), 0x66: Struct(">f"), 0x4C: Struct(">q"),
}  # fmt: skip


def _read_value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind = data[at]
    at += 1
    if kind == 0x49:  # I
        return _unpack_signed(data, at)[0], at + 4
    if kind == 0x46:  # F
        return table_at(data, at, depth + 1)
    if kind == 0x41:  # A
        return _read_list(data, at, depth + 1)
    if kind == 0x74:  # t
        return data[at] != 0, at + 1
    if kind == 0x6C:  # l
        return _unpack_longlong(data, at)[0], at + 8
    if kind in (0x53, 0x78):  # S, x
        size = _unpack_long(data, at)[0]
        raw = data[at + 4 : at + 4 + size]
        return (_text(raw) if kind == 0x53 else raw), at + 4 + size
    if kind == 0x56:  # V
        return None, at
    if kind == 0x64:  # d
        return _unpack_double(data, at)[0], at + 8
    if kind == 0x54:  # T
        return datetime.fromtimestamp(_unpack_longlong(data, at)[0], UTC), at + 8
    if kind == 0x44:  # D
        return Decimal(_unpack_signed(data, at + 1)[0]).scaleb(-data[at]), at + 5
    fixed = _FIXED.get(kind)
    if fixed is None:
        raise Malformed(f"a header has the unknown type {chr(kind)!r}")
    return fixed.unpack_from(data, at)[0], at + fixed.size


def _read_list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    if depth > DEEPEST:
        raise Malformed(f"the headers are nested more than {DEEPEST} deep")
    end = at + 4 + _unpack_long(data, at)[0]
    if end > len(data):
        raise Malformed("the headers are cut off")
    at += 4
    items: list[Any] = []
    while at < end:
        if data[at] == 0x56:  # V, twice in every message that has no time limit
            items.append(None)
            at += 1
        elif data[at] == 0x49:  # I
            items.append(_unpack_signed(data, at + 1)[0])
            at += 5
        else:
            item, at = _read_value(data, at, depth)
            items.append(item)
    if at != end:
        raise Malformed("a header is longer than its list")
    return items, end
