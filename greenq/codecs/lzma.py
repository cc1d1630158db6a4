"""lzma, as xz containers."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from typing import ClassVar

from greenq.codecs.base import Compressor
from greenq.codecs.streams import OUTPUT, collect, cut_off, trailing
from greenq.errors import DecodeError

__all__ = ["LzmaCompressor"]

MEMORY = 32 * 1024 * 1024
"""Bytes that decompressing may need: a header of a few bytes can ask for 4 GiB. Presets up to 7 fit."""


class LzmaCompressor(Compressor):
    """The slowest and the smallest.

    Source: kombu.compression, ``application/x-lzma``: an xz container at preset 6 (the older lzma container
    is read too, as ``lzma.decompress`` does).
    """

    name: ClassVar[str] = "lzma"
    content_type: ClassVar[str] = "application/x-lzma"

    def compress(self, data: bytes) -> bytes:
        """Make `data` smaller."""
        return lzma.compress(data)

    def decompress(self, data: bytes, max_size: int) -> bytes:
        """Undo `compress`; see `Compressor`."""
        try:
            return collect(self._chunks(data), max_size, self.name)
        except lzma.LZMAError as error:
            raise DecodeError(f"the body is not valid lzma: {error}") from error

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        stream = lzma.LZMADecompressor(memlimit=MEMORY)
        yield stream.decompress(data, OUTPUT)
        while not stream.eof:
            if stream.needs_input:
                raise cut_off(self.name)
            yield stream.decompress(b"", OUTPUT)
        if stream.unused_data:
            raise trailing(self.name)
