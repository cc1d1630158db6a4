"""zlib, which Celery's producers call both ``zlib`` and ``gzip``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import ClassVar

from greenq.codecs.base import Compressor
from greenq.codecs.streams import OUTPUT, collect, cut_off, pieces, trailing
from greenq.errors import DecodeError

__all__ = ["ZlibCompressor"]


class ZlibCompressor(Compressor):
    """Everywhere at hand, fast enough, fair ratio.

    Source: kombu.compression: ``application/x-gzip`` holds a plain zlib stream (RFC 1950), no gzip file.
    """

    name: ClassVar[str] = "zlib"
    content_type: ClassVar[str] = "application/x-gzip"

    def compress(self, data: bytes) -> bytes:
        """Make `data` smaller."""
        return zlib.compress(data)

    def decompress(self, data: bytes, max_size: int) -> bytes:
        """Undo `compress`; see `Compressor`."""
        try:
            return collect(self._chunks(data), max_size, self.name)
        except zlib.error as error:
            raise DecodeError(f"the body is not valid zlib: {error}") from error

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        stream = zlib.decompressobj()
        for piece in pieces(data):
            if stream.eof:
                raise trailing(self.name)
            rest: bytes | memoryview = piece
            while rest and not stream.eof:  # at the end, what goes on stays in unconsumed_tail
                yield stream.decompress(rest, OUTPUT)
                rest = stream.unconsumed_tail
        while not stream.eof:
            # All is read, yet up to a window of output may wait inside.
            last = stream.decompress(b"", OUTPUT)
            if not last:
                raise cut_off(self.name)
            yield last
        if stream.unused_data:
            raise trailing(self.name)
