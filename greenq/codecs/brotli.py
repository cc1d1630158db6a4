"""Brotli, through the package brotli (extra ``brotli``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import brotli

from greenq.codecs.base import Compressor
from greenq.codecs.streams import OUTPUT, collect, cut_off, pieces, trailing
from greenq.errors import DecodeError

__all__ = ["BrotliCompressor"]


class BrotliCompressor(Compressor):
    """Small for text, slow to compress.

    Source: kombu.compression, ``application/x-brotli``: one stream of RFC 7932 at quality 11.
    """

    name: ClassVar[str] = "brotli"
    content_type: ClassVar[str] = "application/x-brotli"

    def compress(self, data: bytes) -> bytes:
        """Make `data` smaller."""
        return bytes(brotli.compress(data))

    def decompress(self, data: bytes, max_size: int) -> bytes:
        """Undo `compress`; see `Compressor`."""
        try:
            return collect(self._chunks(data), max_size, self.name)
        except brotli.error as error:
            raise DecodeError(f"the body is not valid brotli: {error}") from error

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        stream = brotli.Decompressor()
        for piece in pieces(data):
            if stream.is_finished():
                raise trailing(self.name)
            yield stream.process(piece, output_buffer_limit=OUTPUT)
            while not stream.can_accept_more_data():
                yield stream.process(b"", output_buffer_limit=OUTPUT)
        while not stream.is_finished():
            # All is read, yet up to a window of output may wait inside.
            last = stream.process(b"", output_buffer_limit=OUTPUT)
            if not last:
                raise cut_off(self.name)
            yield last
