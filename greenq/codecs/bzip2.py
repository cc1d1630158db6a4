"""bzip2: slow, small."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import ClassVar

from greenq.codecs.base import Compressor
from greenq.codecs.streams import OUTPUT, collect, cut_off, trailing
from greenq.errors import DecodeError

__all__ = ["Bzip2Compressor"]


class Bzip2Compressor(Compressor):
    """Slow, with a good ratio on text.

    Source: kombu.compression, ``application/x-bz2``: one bzip2 stream.
    """

    name: ClassVar[str] = "bzip2"
    content_type: ClassVar[str] = "application/x-bz2"

    def compress(self, data: bytes) -> bytes:
        """Make `data` smaller."""
        return bz2.compress(data)

    def decompress(self, data: bytes, max_size: int) -> bytes:
        """Undo `compress`; see `Compressor`."""
        try:
            return collect(self._chunks(data), max_size, self.name)
        except (OSError, ValueError) as error:
            raise DecodeError(f"the body is not valid bzip2: {error}") from error

    def _chunks(self, data: bytes) -> Iterator[bytes]:
        stream = bz2.BZ2Decompressor()
        yield stream.decompress(data, OUTPUT)
        while not stream.eof:
            if stream.needs_input:
                raise cut_off(self.name)
            yield stream.decompress(b"", OUTPUT)
        if stream.unused_data:
            raise trailing(self.name)
