"""Serializers and compressions of others: by a dotted name in the settings, or by an entry point."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenq.codecs import Codecs
from greenq.errors import BodyTooLarge, ConfigError, DecodeError, EncodeError, SerializerRefused

GOOD = """
from greenq.codecs import Codec, Compressor

class Text(Codec):
    name, content_type, encoding = "text", "text/x-repr", "utf-8"

    def encode(self, value):
        return repr(value).encode("ascii")

    def decode(self, data, max_size):
        import ast
        return ast.literal_eval(data.decode("ascii"))

class Code(Text):
    name, content_type, unsafe = "code", "text/x-code", True

class Backwards(Compressor):
    name, content_type = "backwards", "application/x-backwards"

    def compress(self, data):
        return data[::-1]

    def decompress(self, data, max_size):
        if data[:1] == b"!":
            raise RuntimeError("not today")
        return data[::-1]

class Zlib(Backwards):
    name, content_type = "zlib", "application/x-gzip"

class Outer:
    class Inner(Text):
        pass
"""

BAD = """
from greenq.codecs import Codec, Compressor

class NoCodec: pass
class Half(Codec):
    name, content_type, encoding = "half", "text/x-half", "utf-8"
    def encode(self, value): return b""
class Untyped(Compressor):
    name = "untyped"
    def compress(self, data): return data
    def decompress(self, data, max_size): return data
class Costly(Compressor):
    name, content_type = "costly", "application/x-costly"
    def __init__(self, level): pass
    def compress(self, data): return data
    def decompress(self, data, max_size): return data
not_a_class = 5
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "good_codecs.py").write_text(GOOD)
    (tmp_path / "bad_codecs.py").write_text(BAD)
    (tmp_path / "broken_codecs.py").write_text("import nothing_of_this_name")
    return tmp_path


def test_a_dotted_name_in_the_settings_adds_a_serializer(modules: Path) -> None:
    codecs = Codecs(accept=("text",), serializers={"text": "good_codecs:Text"})
    sent = codecs.encode((1, {2}), "text")
    assert (sent.body, sent.content_type) == (b"(1, {2})", "text/x-repr")
    assert codecs.decode(sent.body, "text/x-repr", "utf-8") == (1, {2})
    with pytest.raises(SerializerRefused, match="add json to accept"):
        codecs.decode(b"[]", "application/json", "utf-8")


def test_a_dotted_name_may_lead_into_a_class(modules: Path) -> None:
    assert Codecs(serializers={"text": "good_codecs:Outer.Inner"}).encode(5, "text").body == b"5"


def test_what_another_serializer_raises_becomes_an_error_of_ours(modules: Path) -> None:
    codecs = Codecs(accept=("text",), serializers={"text": "good_codecs:Text"}, max_body=2000)
    with pytest.raises(DecodeError, match="not valid text: SyntaxError"):
        codecs.decode(b"(", "text/x-repr", "utf-8")
    with pytest.raises(EncodeError, match="text cannot encode this: UnicodeEncodeError"):
        codecs.encode("\u00e9", "text")
    with pytest.raises(BodyTooLarge):
        codecs.decode(b" " * 2001, "text/x-repr", "utf-8")


def test_an_unsafe_serializer_of_others_needs_accept_too(modules: Path) -> None:
    with pytest.raises(ConfigError, match="add code to accept if you trust"):
        Codecs(serializers={"code": "good_codecs:Code"}).encode(5, "code")


def test_a_dotted_name_in_the_settings_adds_a_compression(modules: Path) -> None:
    codecs = Codecs(compressions={"backwards": "good_codecs:Backwards"})
    sent = codecs.encode([1, 2], "json", "backwards")
    assert (sent.body, sent.compression) == (b"]2 ,1[", "application/x-backwards")
    assert codecs.decode(sent.body, "application/json", "utf-8", sent.compression) == [1, 2]
    assert codecs.decode(sent.body, "application/json", "utf-8", "backwards") == [1, 2]
    with pytest.raises(DecodeError, match="not valid backwards: RuntimeError: not today"):
        codecs.decode(b"!", "application/json", "utf-8", "backwards")


def test_the_settings_go_before_what_is_built_in(modules: Path) -> None:
    codecs = Codecs(compressions={"zlib": "good_codecs:Zlib"})
    assert codecs.encode([1], "json", "zlib").body == b"]1["
    assert codecs.decode(b"]1[", "application/json", "utf-8", "application/x-gzip") == [1]


def test_an_entry_point_adds_both_kinds(modules: Path) -> None:
    info = modules / "good_codecs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: good-codecs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[greenq.serializers]\ntext = good_codecs:Text\n"
        "[greenq.compressions]\nbackwards = good_codecs:Backwards\nlost = good_codecs:Lost\n"
    )
    codecs = Codecs(accept=("text",))
    sent = codecs.encode([1, 2], "text", "backwards")
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding, sent.compression) == [1, 2]
    assert "text" in codecs.serializer_names()
    assert "lost" in codecs.compression_names()
    with pytest.raises(
        ConfigError, match=r"plug-in compression 'lost' \(good_codecs:Lost\) cannot be imported"
    ):
        codecs.encode([], "text", "lost")
    assert Codecs(accept=("text/x-repr",)).decode(b"[1]", "text/x-repr", "utf-8") == [1]


@pytest.mark.parametrize(
    ("dotted", "says"),
    [
        ("good_codecs", "must be written module:Class"),
        ("good_codecs:", "must be written module:Class"),
        (":Text", "must be written module:Class"),
        ("no_such_module:Text", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "broken_codecs:Text",
            "cannot be imported: ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("good_codecs:Txt", "good_codecs has no 'Txt'"),
        ("bad_codecs:NoCodec", "is not a subclass of greenq.codecs.Codec"),
        ("bad_codecs:Untyped", "is not a subclass of greenq.codecs.Codec"),
        ("bad_codecs:not_a_class", "is not a subclass of greenq.codecs.Codec"),
        ("bad_codecs:Half", "does not define decode"),
    ],
)
def test_a_bad_serializer_says_what_is_wrong(modules: Path, dotted: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Codecs(accept=("mine",), serializers={"mine": dotted})
    assert f"serializers.mine: {dotted!r}" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "says"),
    [
        ("bad_codecs:NoCodec", "is not a subclass of greenq.codecs.Compressor"),
        ("bad_codecs:Untyped", "has no 'content_type'"),
        ("bad_codecs:Costly", "cannot be made: TypeError"),
    ],
)
def test_a_bad_compression_says_what_is_wrong(modules: Path, dotted: str, says: str) -> None:
    codecs = Codecs(compressions={"mine": dotted})
    with pytest.raises(ConfigError) as caught:
        codecs.check(compression="mine")
    assert f"compressions.mine: {dotted!r}" in str(caught.value)
    assert says in str(caught.value)
    with pytest.raises(DecodeError, match="the header compression is 'application/x-unknown'"):
        codecs.decode(b"", "application/json", "utf-8", "application/x-unknown")
