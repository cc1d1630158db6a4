"""Codecs: what may be read, what is compressed, and what every refusal says."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from greenq.codecs import Codecs, compression_names, serializer_names
from greenq.codecs.table import COMPRESSIONS
from greenq.errors import BodyTooLarge, ConfigError, DecodeError, EncodeError, MessageError, SerializerRefused


def test_a_serializer_outside_accept_is_refused_with_what_to_add() -> None:
    codecs = Codecs(accept=("json",))
    body = Codecs(accept=("pickle",)).encode([1], "pickle").body
    with pytest.raises(SerializerRefused, match=r"the body is pickle, and accept allows json: add pickle"):
        codecs.decode(body, "application/x-python-serialize", "binary")
    with pytest.raises(SerializerRefused, match="add yaml to accept"):
        codecs.decode(b"- 1", "application/x-yaml", "utf-8")
    with pytest.raises(SerializerRefused, match=r"content type is 'application/cbor'.*under serializers"):
        codecs.decode(b"\x01", "application/cbor", "binary")


def test_a_refused_body_is_not_even_decompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = Codecs(accept=("json",))
    monkeypatch.setattr(codecs, "_decompress", lambda *_: pytest.fail("it was decompressed"))
    with pytest.raises(SerializerRefused):
        codecs.decode(b"", "application/x-yaml", "utf-8", "application/x-gzip")


@pytest.mark.parametrize("content_type", [None, "", 7, b"application/json", ["application/json"], {}])
def test_a_content_type_of_any_shape_is_refused(content_type: Any) -> None:
    with pytest.raises(SerializerRefused):
        Codecs().decode(b"[]", content_type, "utf-8")


class Huge:
    """Unpickled, it asks for more memory than any machine has."""

    def __reduce__(self) -> Any:
        return bytearray, (2**60,)


def test_a_pickle_that_wants_more_memory_than_there_is_is_a_message_too_large() -> None:
    codecs = Codecs(accept=("pickle",))
    sent = codecs.encode(Huge(), "pickle")
    with pytest.raises(BodyTooLarge, match="of pickle takes more memory than there is"):
        codecs.decode(sent.body, sent.content_type, sent.content_encoding)


def test_accept_takes_content_types_too() -> None:
    assert Codecs(accept=("application/x-yaml",)).decode(b"- 1", "application/x-yaml", "utf-8") == [1]
    with pytest.raises(ConfigError, match="no serializer named 'application/x-nothing'"):
        Codecs(accept=("application/x-nothing",))


def test_pickle_is_written_only_where_it_may_be_read() -> None:
    with pytest.raises(ConfigError, match="add pickle to accept if you trust everyone"):
        Codecs().encode([1], "pickle")
    codecs = Codecs(accept=("json", "pickle"))
    sent = codecs.encode({1, 2}, "pickle")
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding) == {1, 2}


def test_a_serializer_that_could_not_be_read_back_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="could not be read back: add yaml to accept"):
        Codecs().check(serializer="yaml")
    Codecs(accept=("yaml",)).check(serializer="yaml", compression="bzip2")


@pytest.mark.parametrize(("given", "meant"), [("jsn", "json"), ("msgpak", "msgpack"), ("YAML", "")])
def test_an_unknown_serializer_gets_a_suggestion(given: str, meant: str) -> None:
    says = f"did you mean '{meant}'" if meant else "choose one of json, msgpack, yaml, pickle"
    with pytest.raises(ConfigError, match=f"no serializer named '{given}': {says}"):
        Codecs().encode([], given)
    with pytest.raises(ConfigError, match="no serializer named"):
        Codecs(accept=(given,))


def test_an_unknown_compression_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"no compression named 'zst': did you mean 'zstd'\?"):
        Codecs().encode([], "json", "zst")
    with pytest.raises(ConfigError, match="no compression named 'snappy': choose one of zlib, gzip"):
        Codecs().check(compression="snappy")


@pytest.mark.parametrize("header", ["application/x-snappy", 7, ["zlib"], b"zlib"])
def test_an_unknown_compression_header_is_named(header: Any) -> None:
    with pytest.raises(DecodeError, match=r"the header compression is .*known are zlib, gzip"):
        Codecs().decode(b"[]", "application/json", "utf-8", header)


@pytest.mark.parametrize("name", ["zstd", "brotli"])
def test_a_missing_package_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = COMPRESSIONS[name]
    monkeypatch.delitem(sys.modules, row.module, raising=False)
    monkeypatch.setitem(sys.modules, {"zstd": "zstandard", "brotli": "brotli"}[name], None)
    says = rf'pip install "greenq\[{row.extra}\]"'
    with pytest.raises(ConfigError, match=says):
        Codecs().encode([], "json", name)
    with pytest.raises(DecodeError, match=says):
        Codecs().decode(b"x", "application/json", "utf-8", row.content_type)
    with pytest.raises(ConfigError, match="no compression named 'snappy'"):
        Codecs().check(compression="snappy")


def test_small_bodies_are_left_as_they_are() -> None:
    codecs = Codecs()
    assert codecs.encode("x" * 97, "json", "zlib", 100).compression is None
    large = codecs.encode("x" * 98, "json", "zlib", 100)
    assert large.compression == "application/x-gzip"
    assert len(large.body) < 100


def test_a_body_larger_than_max_body_is_refused_on_both_sides() -> None:
    codecs = Codecs(max_body=2000)
    with pytest.raises(EncodeError, match="2003 bytes, more than the 2000"):
        codecs.encode("x" * 2001, "json")
    with pytest.raises(BodyTooLarge, match=r"raise tasks\.max_body"):
        codecs.decode(b'"' + b"x" * 2000 + b'"', "application/json", "utf-8")
    assert codecs.decode(b'"' + b"x" * 1998 + b'"', "application/json", "utf-8") == "x" * 1998


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma", "zstd", "brotli"])
def test_max_body_counts_what_comes_out(compression: str) -> None:
    sent = Codecs().encode("x" * 998, "json", compression)
    for limit, fits in ((1000, True), (999, False)):
        codecs = Codecs(max_body=limit)
        if fits:
            assert codecs.decode(sent.body, "application/json", "utf-8", sent.compression) == "x" * 998
        else:
            with pytest.raises(BodyTooLarge):
                codecs.decode(sent.body, "application/json", "utf-8", sent.compression)


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma", "zstd", "brotli"])
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 1_000_000])
def test_data_that_are_cut_off_or_go_on_are_refused(compression: str, size: int) -> None:
    compressor = Codecs()._compressions.load(compression)
    data = bytes(number * 7919 % 251 for number in range(size))
    packed = compressor.compress(data)
    assert compressor.decompress(packed, size) == data
    for malformed in (
        packed[:-1],
        packed[: len(packed) // 2],
        packed + b"\0",
        packed + packed,
        b"",
        b"\0" * 9,
    ):
        with pytest.raises(DecodeError):
            compressor.decompress(malformed, 2 * size + 1)


def test_a_zstd_frame_of_unknown_size_is_read_too() -> None:
    import zstandard

    compressor = Codecs()._compressions.load("zstd")
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(b"abc" * 100_000)
    assert compressor.decompress(packed, 300_000) == b"abc" * 100_000
    for malformed in (packed[:-1], packed + b"\0", packed + packed):
        with pytest.raises(DecodeError):
            compressor.decompress(malformed, 1_000_000)
    with pytest.raises(BodyTooLarge):
        compressor.decompress(packed, 299_999)


def test_a_serializer_says_what_it_cannot_carry() -> None:
    codecs = Codecs(accept=("json", "yaml", "pickle", "msgpack"))
    with pytest.raises(EncodeError, match=r"msgpack cannot carry this.*json and yaml carry dates"):
        codecs.encode([object()], "msgpack")
    with pytest.raises(EncodeError, match="msgpack cannot carry"):
        codecs.encode([2**70], "msgpack")
    with pytest.raises(EncodeError, match=r"yaml cannot carry a value of type builtins\.object"):
        codecs.encode([object()], "yaml")
    with pytest.raises(EncodeError, match="pickle cannot carry"):
        codecs.encode([lambda: None], "pickle")


def test_the_names_are_listed_with_those_of_the_settings() -> None:
    assert serializer_names()[:4] == ["json", "msgpack", "yaml", "pickle"]
    assert "snappy" in compression_names({"snappy": "shop:Snappy"})
    codecs = Codecs(serializers={"cbor": "shop:Cbor"})
    assert "cbor" in codecs.serializer_names()
    assert "xz" in codecs.compression_names()


def test_the_type_of_a_serializer_is_told() -> None:
    assert Codecs().type_of("msgpack") == ("application/x-msgpack", "binary")


def test_every_refusal_is_a_message_error() -> None:
    assert issubclass(SerializerRefused, MessageError)
    assert issubclass(BodyTooLarge, MessageError)
