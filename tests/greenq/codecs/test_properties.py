"""What comes from outside is read, or refused with a DecodeError: never anything else, whatever the bytes."""

from __future__ import annotations

import contextlib
import datetime
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from greenq.codecs import Codecs
from greenq.codecs.table import COMPRESSIONS, SERIALIZERS
from greenq.errors import DecodeError

CODECS = Codecs(accept=("json", "msgpack", "yaml", "pickle"), max_body=1 << 20)
quick = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)
plain = (
    some.none() | some.booleans() | some.integers(-(2**63), 2**63 - 1) | texts | some.floats(allow_nan=False)
)
timezones = some.sampled_from([None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=5))])
extended = (
    plain
    | some.binary(max_size=20)
    | some.datetimes(timezones=timezones)
    | some.dates()
    | some.times()
    | some.decimals(allow_nan=False)
    | some.uuids()
)


def values(leaves: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    return some.recursive(
        leaves, lambda inner: some.lists(inner, max_size=4) | some.dictionaries(texts, inner, max_size=4)
    )


def _there_and_back(value: Any, serializer: str, compression: str | None = None) -> Any:
    sent = CODECS.encode(value, serializer, compression)
    return CODECS.decode(sent.body, sent.content_type, sent.content_encoding, sent.compression)


def _read_or_refused(*message: Any) -> None:
    with contextlib.suppress(DecodeError):
        CODECS.decode(*message)


@quick
@given(values(extended))
def test_json_brings_back_what_it_was_given(value: Any) -> None:
    assert _there_and_back(value, "json") == value


@quick
@given(values(plain | some.binary(max_size=20)))
def test_msgpack_brings_back_what_it_was_given(value: Any) -> None:
    assert _there_and_back(value, "msgpack") == value


@quick
@given(values(some.booleans() | some.integers() | some.binary(max_size=20) | some.dates()))
def test_yaml_brings_back_what_it_was_given(value: Any) -> None:
    assert _there_and_back(value, "yaml") == value


@quick
@given(values(extended | some.tuples(plain)))
def test_pickle_brings_back_what_it_was_given(value: Any) -> None:
    assert _there_and_back(value, "pickle") == value


@pytest.mark.parametrize("compression", sorted(COMPRESSIONS))
@quick
@given(some.binary(max_size=2000))
def test_each_compression_brings_back_what_it_was_given(compression: str, data: bytes) -> None:
    assert _there_and_back(data, "msgpack", compression) == data


@pytest.mark.parametrize("serializer", sorted(set(SERIALIZERS) - {"pickle"}))
@settings(quick, max_examples=300)
@given(
    some.binary(max_size=200)
    | some.text(alphabet="[]{}:,-?*&!<|>'\"\\ \n\t0123e.abtn_", max_size=80).map(str.encode)
)
@example(b"")
@example(b"\xff\xfe\x00\x00")
@example(b"? [a]\n: 1")
@example(b"!!timestamp 2026-99-99")
@example(b"!!binary '*'")
@example(b"!!int ''")
@example(b"!!float _")
@example(b"!!map [1]")
@example(b"<<: 5")
@example(b"&a [*a]")
@example(b"*a")
@example(b"%YAML 9.9\n---")
@example(b"---\na\n---\nb")
@example(b"!!python/object/apply:os.system [echo]")
@example(b"= ")
@example(b'{"__type__": {"a": 1}, "__value__": 1}')
def test_random_bytes_are_read_or_refused(serializer: str, data: bytes) -> None:
    _read_or_refused(data, SERIALIZERS[serializer].content_type, "utf-8")


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma", "zstd", "brotli"])
@quick
@given(some.binary(max_size=300))
def test_random_bytes_are_decompressed_or_refused(compression: str, data: bytes) -> None:
    _read_or_refused(data, "application/json", "utf-8", COMPRESSIONS[compression].content_type)


@pytest.mark.parametrize("compression", ["zlib", "bzip2", "lzma", "zstd", "brotli"])
@quick
@given(some.integers(0, 400), some.integers(0, 255))
def test_one_changed_byte_is_read_or_refused(compression: str, at: int, to: int) -> None:
    body = bytearray(CODECS.encode([list(range(200)), "text" * 9], "json", compression).body)
    body[at % len(body)] = to
    _read_or_refused(bytes(body), "application/json", "utf-8", COMPRESSIONS[compression].content_type)


@pytest.mark.parametrize("data", [b"", b"\x80", b"garbage", b"cos\nnothing\n.", pickle.dumps(1)[:-1]])
def test_broken_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError, match="cannot be unpickled"):
        CODECS.decode(data, "application/x-python-serialize", "binary")
