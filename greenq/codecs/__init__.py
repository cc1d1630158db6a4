"""What turns values into bytes and back: serializers and compressions, by name from two tables.

    >>> from greenq.codecs import Codecs
    >>> codecs = Codecs(accept=("json",))
    >>> sent = codecs.encode([1, "two"], "json", "zlib")
    >>> sent.content_type, sent.compression
    ('application/json', 'application/x-gzip')
    >>> codecs.decode(sent.body, sent.content_type, sent.content_encoding, sent.compression)
    [1, 'two']

Each serializer and compression lives in its own file, imported when a name or a message first asks for it.
"""

from __future__ import annotations

from greenq.codecs.base import Codec, Compressor
from greenq.codecs.chosen import Codecs, Encoded
from greenq.codecs.table import compression_names, serializer_names

__all__ = ["Codec", "Codecs", "Compressor", "Encoded", "compression_names", "serializer_names"]
