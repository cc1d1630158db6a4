"""The one object through which an application encodes and decodes, with what its settings allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import greenq.codecs.table as table
from greenq.codecs.base import Codec, Compressor
from greenq.errors import BodyTooLarge, ConfigError, DecodeError, EncodeError, MessageError, SerializerRefused

__all__ = ["Codecs", "Encoded"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as it travels.

    Parameters:
        content_type, content_encoding: of the body before compression.
        compression: what the header ``compression`` says (a MIME type); None if it is not compressed.
    """

    body: bytes
    content_type: str
    content_encoding: str
    compression: str | None = None


class Codecs:
    """Encodes and decodes with the serializers and compressions that the settings name.

    Parameters:
        accept: serializers (names or content types) that may be decoded.
        serializers, compressions: further ones, name to ``module:Class``.
        max_body: the largest body, decompressed, in bytes.

    Raises:
        ConfigError: `accept` names what does not exist.
    """

    def __init__(
        self,
        accept: Sequence[str] = ("json", "msgpack"),
        serializers: Mapping[str, str] | None = None,
        compressions: Mapping[str, str] | None = None,
        max_body: int = 64 * 1024 * 1024,
    ) -> None:
        self.max_body = max_body
        self._serializers = table.serializers(serializers or {})
        self._compressions = table.compressions(compressions or {})
        self._accepted = dict(self._by_type(name) for name in accept)
        self._decoders: dict[str, Codec] = {}
        self._decompressors: dict[str, Compressor] = {}

    def serializer_names(self) -> list[str]:
        """Every serializer that can be named here."""
        return self._serializers.names()

    def compression_names(self) -> list[str]:
        """Every compression that can be named here."""
        return self._compressions.names()

    def check(self, serializer: str | None = None, compression: str | None = None) -> None:
        """Make sure, at start, that what the settings name can be written, and read back.

        Raises:
            ConfigError: a name is unknown, its package is not installed, or `accept` does not allow it.
        """
        if serializer is not None and self._allowed(serializer).content_type not in self._accepted:
            raise ConfigError(
                f"what the serializer {serializer} writes could not be read back: add {serializer} to accept"
            )
        if compression is not None:
            self._compressions.load(compression)

    def type_of(self, serializer: str) -> tuple[str, str]:
        """Give the content type and the content encoding that a serializer's messages carry.

        Raises:
            ConfigError: the name is unknown, or its package is not installed.
        """
        codec = self._serializers.load(serializer)
        return codec.content_type, codec.encoding

    def encode(
        self, value: Any, serializer: str, compression: str | None = None, compress_over: int = 0
    ) -> Encoded:
        """Turn a value into a message's body.

        Parameters:
            serializer, compression: names.
            compress_over: bytes; smaller bodies are not compressed.

        Raises:
            EncodeError: the serializer cannot carry the value, or no worker would take a body so large.
            ConfigError: a name is unknown, its package is not installed, or `accept` does not allow it.
        """
        codec = self._allowed(serializer)
        try:
            body = codec.encode(value)
        except (EncodeError, MemoryError):
            raise
        except Exception as error:
            raise EncodeError(f"{serializer} cannot encode this: {type(error).__name__}: {error}") from error
        if len(body) > self.max_body:
            raise EncodeError(
                f"the encoded body has {len(body)} bytes, more than the {self.max_body} that are decoded: "
                "send a path or a key to the data instead, or raise tasks.max_body"
            )
        if compression is None or len(body) < compress_over:
            return Encoded(body, codec.content_type, codec.encoding)
        compressor = self._compressions.load(compression)
        return Encoded(compressor.compress(body), codec.content_type, codec.encoding, compressor.content_type)

    def decode(
        self, body: bytes, content_type: str, content_encoding: str, compression: str | None = None
    ) -> Any:
        """Turn a message's body into its value.

        Parameters:
            content_type: the message's; must be in `accept`.
            content_encoding: the message's; each serializer has its own, as in kombu, so it is not used.
            compression: the message's header of that name: a MIME type, or one of kombu's names.

        Raises:
            SerializerRefused: `accept` does not allow it; nothing was decompressed or decoded.
            BodyTooLarge: it is, or would become, larger than `max_body`.
            DecodeError: it is malformed, or its compression is unknown.
        """
        try:
            codec = self._decoders[content_type]
        except (KeyError, TypeError):
            codec = self._decoder(content_type)
        if compression:
            body = self._decompress(body, compression)
        if len(body) > self.max_body:
            raise BodyTooLarge(
                f"the body has {len(body)} bytes, more than the {self.max_body} allowed: raise tasks.max_body"
            )
        try:
            return codec.decode(body, self.max_body)
        except MessageError:
            raise
        except MemoryError as error:  # of unpickling, which cannot be bounded
            raise BodyTooLarge(
                f"decoding {len(body)} bytes of {codec.name} takes more memory than there is"
            ) from error
        except Exception as error:
            raise DecodeError(
                f"the body is not valid {codec.name}: {type(error).__name__}: {error}"
            ) from error

    def serializer_of(self, content_type: str) -> str:
        """Give the name of what decodes a content type, which encodes it, too.

        Raises:
            SerializerRefused: `accept` does not allow it.
            DecodeError: its package is not installed.
        """
        return self._decoder(content_type).name

    def is_unsafe(self, content_type: Any) -> bool:
        """Whether decoding it can do more than give a value: run code, or end the process."""
        try:
            return self._decoder(content_type).unsafe
        except MessageError:
            return False

    def _by_type(self, accepted: str) -> tuple[str, str]:
        if "/" in accepted:
            for name in self._serializers.names():
                if self._serializers.content_type(name) == accepted:
                    return accepted, name
        return self._serializers.content_type(accepted), accepted

    def _allowed(self, serializer: str) -> Codec:
        codec = self._serializers.load(serializer)
        if codec.unsafe and codec.content_type not in self._accepted:
            raise ConfigError(
                f"the serializer {serializer} is refused, as decoding it can run any code: "
                f"add {serializer} to accept if you trust everyone who can write to the broker"
            )
        return codec

    def _decoder(self, content_type: Any) -> Codec:
        """Find, once per content type, what decodes it."""
        name = self._accepted.get(content_type) if isinstance(content_type, str) else None
        if name is None:
            raise SerializerRefused(self._refusal(content_type))
        try:
            codec = self._decoders[content_type] = self._serializers.load(name)
        except ConfigError as error:
            raise DecodeError(str(error)) from error
        return codec

    def _refusal(self, content_type: Any) -> str:
        here = ", ".join(self._accepted.values()) or "nothing"
        for name, row in table.SERIALIZERS.items():
            if row.content_type == content_type:
                care = ", if you trust everyone who can write to the broker" if name == "pickle" else ""
                return f"the body is {name}, and accept allows {here}: add {name} to accept{care}"
        return (
            f"the body's content type is {content_type!r:.80}, and accept allows {here}: "
            "name a serializer for it under serializers, and add that name to accept"
        )

    def _decompress(self, body: bytes, compression: Any) -> bytes:
        compressor = self._decompressors.get(compression) if isinstance(compression, str) else None
        if compressor is None:
            compressor = self._decompressor(compression)
        try:
            return compressor.decompress(body, self.max_body)
        except MessageError:
            raise
        except MemoryError as error:
            raise BodyTooLarge(
                f"decompressing {len(body)} bytes of {compressor.name} takes more memory than there is"
            ) from error
        except Exception as error:
            raise DecodeError(
                f"the body is not valid {compressor.name}: {type(error).__name__}: {error}"
            ) from error

    def _decompressor(self, compression: Any) -> Compressor:
        """Find, once per value of the header, what decompresses it; a further one goes first."""
        known, further = self._compressions.names(), self._compressions.further_names()
        for name in [*further, *(name for name in known if name not in further)]:
            try:
                if compression in (name, self._compressions.content_type(name)):
                    found = self._decompressors[compression] = self._compressions.load(name)
                    return found
            except ConfigError as error:
                if compression == name or name not in further:
                    raise DecodeError(str(error)) from error
        raise DecodeError(
            f"the header compression is {compression!r:.80}, which nothing here decompresses: "
            f"known are {', '.join(known)}; name another under compressions"
        )
