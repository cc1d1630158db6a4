"""Bodies that a real Celery wrote are read, and written again as it wrote them."""

from __future__ import annotations

import base64
import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from greenq.codecs import Codecs
from greenq.codecs.table import COMPRESSIONS, SERIALIZERS, Table
from greenq.codecs.table import compressions as compressions_table
from greenq.codecs.table import serializers as serializers_table

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "wire" / "bodies.json").read_text(encoding="utf-8")
)["cases"]
NAMES = {"datetime": datetime, "Decimal": Decimal, "UUID": UUID}
CODECS = Codecs(accept=("json", "msgpack", "yaml", "pickle"))


def _meant(value: Any) -> Any:
    """Turn the sample's stand-ins into what they stand for, tuples into lists."""
    if isinstance(value, dict):
        if "__repr__" in value:
            return eval(value["__repr__"], dict(NAMES))
        if "__bytes_base64__" in value:
            return base64.b64decode(value["__bytes_base64__"])
        return {key: _meant(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_meant(inner) for inner in value]
    return value


def _serializer(case: dict[str, Any]) -> str:
    return next(name for name, row in SERIALIZERS.items() if row.content_type == case["content_type"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_body_that_celery_wrote_is_read(case: dict[str, Any]) -> None:
    body = base64.b64decode(case["body"])
    value = CODECS.decode(body, case["content_type"], case["content_encoding"], case["compression"])
    assert _meant(value) == _meant(case["value"])


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["compression"] is None and "special" not in case["name"]],
    ids=lambda case: case["name"],
)
def test_a_body_is_written_byte_for_byte_as_celery_wrote_it(case: dict[str, Any]) -> None:
    args, kwargs, embed = case["value"]
    if case["name"] == "pickle":
        args = tuple(args)
    sent = CODECS.encode((args, kwargs, embed), _serializer(case))
    assert sent.body == base64.b64decode(case["body"])
    assert (sent.content_type, sent.content_encoding) == (case["content_type"], case["content_encoding"])


@pytest.mark.parametrize(
    "case", [case for case in CASES if "special" in case["name"]], ids=lambda c: c["name"]
)
def test_values_of_special_types_survive_both_ways(case: dict[str, Any]) -> None:
    value = CODECS.decode(base64.b64decode(case["body"]), case["content_type"], case["content_encoding"])
    sent = CODECS.encode(value, _serializer(case))
    assert CODECS.decode(sent.body, sent.content_type, sent.content_encoding) == value
    if sent.content_type == "application/json":
        assert sent.body == base64.b64decode(case["body"])


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["compression"]], ids=lambda case: case["name"]
)
def test_a_compression_is_announced_as_celery_announces_it(case: dict[str, Any]) -> None:
    name = case["name"].partition("+")[2]
    sent = CODECS.encode(case["value"], _serializer(case), name)
    assert sent.compression == case["compression"]
    value = CODECS.decode(sent.body, sent.content_type, sent.content_encoding, sent.compression)
    assert value == case["value"]
    assert CODECS.decode(sent.body, sent.content_type, sent.content_encoding, name) == case["value"]


def _rows() -> list[tuple[Table[Any], str]]:
    tables: list[tuple[Table[Any], Any]] = [
        (serializers_table({}), SERIALIZERS),
        (compressions_table({}), COMPRESSIONS),
    ]
    return [(table, name) for table, rows in tables for name in rows]


@pytest.mark.parametrize(
    ("table", "name"), _rows(), ids=lambda part: part if isinstance(part, str) else part.kind
)
def test_what_the_table_says_of_a_class_is_what_the_class_says(table: Table[Any], name: str) -> None:
    assert table.load(name).content_type == table.content_type(name)


def test_every_name_and_type_of_kombu_is_known() -> None:
    from kombu import compression
    from kombu.serialization import registry

    assert registry.name_to_type == {name: row.content_type for name, row in SERIALIZERS.items()}
    for alias, content_type in compression._aliases.items():
        assert COMPRESSIONS[alias].content_type == content_type
