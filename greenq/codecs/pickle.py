"""pickle: any Python object, and with it any code."""

from __future__ import annotations

import pickle
from typing import Any, ClassVar

from greenq.codecs.base import Codec
from greenq.errors import DecodeError, EncodeError

__all__ = ["PickleCodec"]

PROTOCOL = 4
"""kombu's."""


class PickleCodec(Codec):
    """Carries nearly every object; only for brokers that nobody else can write to.

    Decoding runs whatever the sender chose, so it cannot be bounded: `max_size` holds for the bytes alone.

    Source: kombu.serialization.register_pickle.
    """

    name: ClassVar[str] = "pickle"
    content_type: ClassVar[str] = "application/x-python-serialize"
    encoding: ClassVar[str] = "binary"
    unsafe: ClassVar[bool] = True

    def encode(self, value: Any) -> bytes:
        """Turn `value` into bytes; see `Codec`."""
        try:
            return pickle.dumps(value, protocol=PROTOCOL)
        except MemoryError:
            raise
        except Exception as error:
            raise EncodeError(f"pickle cannot carry this: {type(error).__name__}: {error}") from error

    def decode(self, data: bytes, max_size: int) -> Any:
        """Turn bytes into the value; see `Codec`."""
        try:
            return pickle.loads(data)
        except MemoryError:
            raise
        except Exception as error:
            raise DecodeError(f"the body cannot be unpickled: {type(error).__name__}: {error}") from error
