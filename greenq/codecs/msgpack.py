"""MessagePack: compact, quick, plain types and bytes only."""

from __future__ import annotations

from typing import Any, ClassVar

import msgpack  # type: ignore[import-untyped]

from greenq.codecs.base import Codec
from greenq.codecs.nesting import CONTAINER, MAX_DEPTH, check_depth, too_deep, too_many
from greenq.errors import DecodeError, EncodeError

__all__ = ["MsgpackCodec"]

OPENERS = bytes([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
"""The first bytes of maps and arrays (they also occur inside texts and numbers)."""
SMALL = 4096
"""Bytes below which false lengths are harmless: at most 1,024 levels of 8 bytes for each byte of the body."""


class MsgpackCodec(Codec):
    """Smaller than json, and carries bytes as they are; dates and the like need json or yaml.

    Source: kombu.serialization.register_msgpack (``use_bin_type=True``, ``raw=False``, keys text or bytes).
    """

    name: ClassVar[str] = "msgpack"
    content_type: ClassVar[str] = "application/x-msgpack"
    encoding: ClassVar[str] = "binary"

    def encode(self, value: Any) -> bytes:
        """Turn `value` into bytes; see `Codec`."""
        try:
            return bytes(msgpack.packb(value, use_bin_type=True))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EncodeError(
                f"msgpack cannot carry this: {error} (json and yaml carry dates, json also Decimal and UUID)"
            ) from error

    def decode(self, data: bytes, max_size: int) -> Any:
        """Turn bytes into the value; see `Codec`."""
        # Most bodies are shorter than the least that could break a bound: those are not counted.
        large = len(data) > MAX_DEPTH or len(data) > max_size // CONTAINER
        opened = len(data) - len(data.translate(None, OPENERS)) if large else 0
        try:
            if len(data) > SMALL:
                self._check_lengths(data)
            if opened > max_size // CONTAINER:
                value = self._unpack_counting(data, max_size)
            else:
                value = msgpack.unpackb(data, raw=False)
        except DecodeError:
            raise
        except msgpack.StackError as error:
            raise too_deep(self.name) from error
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
            raise DecodeError(f"the body is not valid msgpack: {_why(error)}") from error
        if opened > MAX_DEPTH:
            check_depth(value, self.name)
        return value

    def _check_lengths(self, data: bytes) -> None:
        """Read it without building anything: an array that declares more than it holds would be allocated."""
        unpacker = msgpack.Unpacker(None, raw=False, max_buffer_size=len(data))
        unpacker.feed(data)
        unpacker.skip()

    def _unpack_counting(self, data: bytes, max_size: int) -> Any:
        left = max_size // CONTAINER

        def count(value: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise too_many(self.name, max_size)
            return value

        return msgpack.unpackb(data, raw=False, object_hook=count, list_hook=count)


def _why(error: Exception) -> str:
    """Say what is wrong without what the body holds: ExtraData's text is fixed, OutOfData has none."""
    if isinstance(error, msgpack.OutOfData):
        return "it is cut off before its end"
    return str(error) or type(error).__name__
