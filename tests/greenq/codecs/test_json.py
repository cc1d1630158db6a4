"""json: kombu's extended form, plain JSON at plain speed, and errors that say what to do."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any
from uuid import UUID

import kombu.utils.json
import pytest

from greenq.codecs.json import JsonCodec
from greenq.errors import DecodeError, EncodeError

CODEC = JsonCodec()
kombu_json: Any = kombu.utils.json
SIZE = 1 << 20
UTC = datetime.UTC


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        datetime.date(2026, 1, 2),
        datetime.time(3, 4, 5, tzinfo=UTC),
        Decimal("1.10"),
        UUID(int=7),
        b"text",
        b"\x00\xff",
        {"__type__": "just", "some": "keys"},
        ["\u00e9\u65e5", "\ud800", 1.5, None, True, {"a": [1, (2, 3)]}],
        {1: "a", None: "b", 2.5: "c"},
        float("inf"),
    ],
    ids=repr,
)
def test_a_value_is_written_and_read_as_kombu_does(value: Any) -> None:
    body = CODEC.encode([value])
    assert body == kombu_json.dumps([value]).encode()
    assert CODEC.decode(body, SIZE) == kombu_json.loads(body)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class Point:
    def __json__(self) -> dict[str, int]:
        return {"x": 1, "y": 2}


def test_a_type_registered_with_kombu_travels() -> None:
    kombu_json.register_type(Money, "money", lambda money: money.cents, Money)
    try:
        body = CODEC.encode({"price": Money(250)})
        assert body == b'{"price": {"__type__": "money", "__value__": 250}}'
        assert CODEC.decode(body, SIZE) == {"price": Money(250)}
    finally:
        del kombu_json._encoders[Money], kombu_json._decoders["money"]


def test_a_method_json_is_asked() -> None:
    assert CODEC.decode(CODEC.encode(Point()), SIZE) == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    "body",
    [
        rb'{"\u005f_type__": "bytes", "__value__": "a"}',
        rb'{"__t\u0079pe__": "bytes", "__value__": "a"}',
        rb'{"__type_\u005F": "bytes", "__value__": "a"}',
    ],
)
def test_an_escaped_marker_is_not_overlooked(body: bytes) -> None:
    assert CODEC.decode(body, SIZE) == kombu_json.loads(body) == b"a"


@pytest.mark.parametrize(
    "body", [b" [1, 2]", b"[1, 2]\n", b'\t{"a": 1} ', b"1", b'"text"', b" null "], ids=repr
)
def test_white_space_around_the_value_does_not_matter(body: bytes) -> None:
    assert CODEC.decode(body, SIZE) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Expecting value"),
        (b"[1, 2", "Expecting"),
        (b"[1] [2]", "Extra data"),
        (b"[1,]", "Expecting value"),
        (b'{"a": }', "Expecting value"),
        (b"\xff\xfe", "utf-8"),
        (b'{"__type__": "datetime", "__value__": 7}', "not valid json"),
        (b'{"__type__": "uuid", "__value__": {"hex": "7"}}', "not valid json"),
        (b'{"__type__": "uuid", "__value__": {"nothex": "7"}}', "not valid json"),
        (b'{"__type__": "decimal", "__value__": "x"}', "not valid json"),
        (b'{"__type__": "base64", "__value__": "A"}', "not valid json"),
        (b'{"__type__": ["bytes"], "__value__": "A"}', "not valid json"),
        (b'{"__type__": "bytes", "__value__": 5}', "not valid json"),
        (b"[" + b"9" * 1_000_000 + b"]", "4300 digits"),
    ],
)
def test_malformed_bytes_are_a_decode_error(body: bytes, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        CODEC.decode(body, 1 << 24)


def test_an_unknown_type_says_how_to_register_it() -> None:
    with pytest.raises(DecodeError, match=r"unknown type 'money': register it with kombu\.utils\.json"):
        CODEC.decode(b'[{"__type__": "money", "__value__": 250}]', SIZE)


def test_a_value_that_json_cannot_carry_is_named_by_its_type() -> None:
    with pytest.raises(EncodeError, match=r"type .*test_json\.Money: convert it"):
        CODEC.encode([Money(1)])
    with pytest.raises(EncodeError, match="keys must be"):
        CODEC.encode({(1, 2): 3})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError, match="Circular"):
        CODEC.encode(circle)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested too deep"):
        CODEC.encode(deep)
    with pytest.raises(EncodeError, match="4300"):
        CODEC.encode(10**5000)


def test_plain_json_needs_no_kombu() -> None:
    code = (
        "import sys; from greenq.codecs import Codecs; codecs = Codecs()\n"
        "assert not {'yaml', 'msgpack', 'lzma', 'bz2', 'kombu', 'amqp'} & set(sys.modules)\n"
        "sent = codecs.encode([[1], {'a': '\u00e9'}], 'json')\n"
        "codecs.decode(sent.body, sent.content_type, sent.content_encoding)\n"
        "assert not {'kombu', 'amqp'} & set(sys.modules), 'kombu was imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
