"""Decompressing piece by piece, so that what comes out is measured before it fills memory."""

from __future__ import annotations

from collections.abc import Iterator

from greenq.errors import BodyTooLarge, DecodeError

__all__ = ["OUTPUT", "collect", "cut_off", "pieces", "too_large", "trailing"]

INPUT = 64 * 1024
"""Bytes given at once to libraries that copy what they did not use yet: the copies stay linear."""
OUTPUT = 256 * 1024
"""Bytes taken at once."""


def pieces(data: bytes) -> Iterator[memoryview]:
    """Give the data in pieces of `INPUT` bytes."""
    view = memoryview(data)
    for start in range(0, len(data), INPUT):
        yield view[start : start + INPUT]


def collect(chunks: Iterator[bytes], max_size: int, name: str) -> bytes:
    """Join what a decompressor gives.

    Parameters:
        chunks: each about `OUTPUT` bytes; not asked for any more once they pass `max_size`.
        max_size: bytes.
        name: the compression's, for the error.

    Raises:
        BodyTooLarge: there are more than `max_size` bytes.
    """
    taken: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_size:
            raise too_large(name, max_size)
        taken.append(chunk)
    return taken[0] if len(taken) == 1 else b"".join(taken)


def too_large(name: str, max_size: int) -> BodyTooLarge:
    """The error of a body that passes `max_size` bytes."""
    return BodyTooLarge(
        f"the {name} body becomes larger than the {max_size} bytes allowed: raise tasks.max_body"
    )


def cut_off(name: str) -> DecodeError:
    """The error of data that stop too early."""
    return DecodeError(f"the {name} body is cut off before its end")


def trailing(name: str) -> DecodeError:
    """The error of data that go on after their end.

    Producers write one stream; many in a row would be a way to keep a worker busy.
    """
    return DecodeError(f"the {name} body goes on after its end")
