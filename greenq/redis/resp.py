"""The Redis protocol (RESP3): commands to bytes, bytes to replies; in C where hiredis is installed.

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

try:
    import hiredis
except ImportError:
    hiredis = None  # type: ignore[assignment]

__all__ = [
    "MORE",
    "PUSHES",
    "ProtocolError",
    "Push",
    "Reader",
    "ReplyError",
    "pack",
    "pack_all",
    "pack_one",
    "reader",
]

MORE: Any = type("More", (), {"__repr__": lambda self: "MORE"})()
"""What `gets` returns while a reply is not complete."""


class ReplyError(Exception):
    """An error that the server answered with."""


class ProtocolError(Exception):
    """What came is not the Redis protocol."""


class Push(list[Any]):
    """A message that answers no command."""


class Parser(Protocol):
    """What `reader` returns."""

    def feed(self, data: bytes, /) -> None:
        """Take in what the socket gave."""

    def gets(self) -> Any:
        """The next reply, or MORE."""


class Reader:
    """Reads replies as they arrive, in plain Python."""

    def __init__(self) -> None:
        self._data = b""
        self._position = 0
        self._chunks: list[bytes] = []
        self._missing = 0
        self._open: list[tuple[bytes, int, list[Any]]] = []
        """Collections that are not complete: their kind, how many items they will have, the items."""

    def feed(self, data: bytes) -> None:
        """Take in what the socket gave."""
        self._chunks.append(data)
        self._missing -= len(data)

    def gets(self) -> Any:
        """The next reply, or MORE."""
        if self._missing > 0:
            return MORE
        if self._chunks:
            self._data = b"".join([self._data[self._position :], *self._chunks])
            self._chunks.clear()
            self._position = 0
        while True:
            value = self._item()
            if value is MORE:
                return MORE
            if value is _OPENED:
                continue
            while self._open:
                kind, size, items = self._open[-1]
                items.append(value)
                if len(items) < size:
                    break
                self._open.pop()
                value = _collected(kind, items)
            else:
                return value

    def _item(self) -> Any:
        data, start = self._data, self._position
        end = data.find(b"\r\n", start)
        if end < 0:
            self._missing = 1
            return MORE
        kind, line = data[start : start + 1], data[start + 1 : end]
        try:
            if kind in (b"$", b"=", b"!"):
                return self._bulk(kind, int(line), end + 2)
            self._position = end + 2
            if kind in (b"*", b"~", b">", b"%", b"|"):
                return self._collection(kind, int(line))
            return _simple(kind, line)
        except (ValueError, KeyError):
            raise ProtocolError(f"unexpected {data[start : start + 40]!r}") from None

    def _bulk(self, kind: bytes, size: int, begin: int) -> Any:
        if size < 0:
            self._position = begin
            return None
        end = begin + size
        if len(self._data) < end + 2:
            # Large values come in many pieces, which are joined only when all are there.
            self._missing = end + 2 - len(self._data)
            return MORE
        self._position = end + 2
        value = self._data[begin:end]
        if kind == b"=":
            return value[4:]
        return ReplyError(value.decode("utf-8", "replace")) if kind == b"!" else value

    def _collection(self, kind: bytes, size: int) -> Any:
        if size < 0:
            return None
        if kind in (b"%", b"|"):
            size *= 2
        if size == 0:
            return _collected(kind, [])
        self._open.append((kind, size, []))
        return _OPENED


_OPENED: Any = object()


def _collected(kind: bytes, items: list[Any]) -> Any:
    if kind == b">":
        return Push(items)
    if kind in (b"%", b"|"):
        try:
            return dict(zip(items[::2], items[1::2], strict=True))
        except TypeError:
            raise ProtocolError("a map has a collection as key") from None
    return items


def _simple(kind: bytes, line: bytes) -> Any:
    if kind in (b":", b"("):
        return int(line)
    if kind == b"+":
        return line
    if kind == b"-":
        return ReplyError(line.decode("utf-8", "replace"))
    if kind == b",":
        return float(line)
    if kind == b"_":
        return None
    return {b"t": True, b"f": False}[line if kind == b"#" else b""]


def _pack(command: Sequence[Any]) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        if type(argument) is str:
            argument = argument.encode()
        elif type(argument) is not bytes:
            argument = str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)


def pack(*command: Any) -> bytes:
    """Turn one command (bytes, text, numbers) into bytes."""
    return pack_one(command)


def pack_all(commands: Sequence[Sequence[Any]]) -> bytes:
    """Turn commands into bytes."""
    packed: list[bytes] = []
    for command in commands:
        packed.append(pack_one(tuple(command)))
    return b"".join(packed)


def reader() -> Parser:
    """A new reader, the fastest that there is."""
    if hiredis is None:
        return Reader()
    made: Parser = hiredis.Reader(protocolError=ProtocolError, replyError=ReplyError, notEnoughData=MORE)
    return made


pack_one: Callable[[tuple[Any, ...]], bytes] = _pack if hiredis is None else hiredis.pack_command
"""As `pack`, from a tuple: the C function itself where there is one."""
PUSHES: tuple[type, ...] = (Push,) if hiredis is None else (Push, hiredis.PushNotification)
"""The types of what answers no command."""
