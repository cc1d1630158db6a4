"""The two contracts of what turns values into bytes: Codec (serializers) and Compressor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ["Codec", "Compressor"]


class Codec(ABC):
    """A serializer.

    Attributes:
        name: as users write it (``json``).
        content_type, encoding: as messages carry them (``application/json``, ``utf-8``), Celery's.
        unsafe: decoding can run code of the sender's choice, so that encoding too needs it in ``accept``.
    """

    name: ClassVar[str]
    content_type: ClassVar[str]
    encoding: ClassVar[str]
    unsafe: ClassVar[bool] = False

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """Turn `value` into bytes.

        Raises:
            EncodeError: this serializer can't carry it; says which type, and what can.
        """

    @abstractmethod
    def decode(self, data: bytes, max_size: int) -> Any:
        """Turn bytes into the value; `max_size` bounds (in bytes) what they may blow up to.

        Raises:
            DecodeError: they are malformed, or nested too deep.
            BodyTooLarge: they are, or would become, larger than `max_size`.
        """


class Compressor(ABC):
    """A compression.

    Attributes:
        name: as users write it (``zstd``).
        content_type: as the header ``compression`` carries it (``application/zstd``), kombu's.
    """

    name: ClassVar[str]
    content_type: ClassVar[str]

    @abstractmethod
    def compress(self, data: bytes) -> bytes:
        """Make `data` smaller."""

    @abstractmethod
    def decompress(self, data: bytes, max_size: int) -> bytes:
        """Undo `compress`, stopping as soon as the output passes `max_size` bytes.

        Raises:
            DecodeError: they are malformed or cut off.
            BodyTooLarge: the output would be larger; no more than about `max_size` was ever in memory.
        """
