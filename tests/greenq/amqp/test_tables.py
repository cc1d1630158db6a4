"""Headers come back as they were written, and nothing that arrives can do harm."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.serialization import dumps, loads

from greenq.amqp.failures import Failure
from greenq.amqp.frames import Assembler
from greenq.amqp.methods import DELIVER, content, frame
from greenq.amqp.tables import Malformed, Unfit, read_table, write_table

EVERYTHING: dict[str, Any] = {
    "text": "ü🚚", "empty": "", "none": None, "yes": True, "no": False, "small": -5, "big": 2**40,
    "float": 1.5, "bytes": b"\0\xff", "list": [1, "a", None, [True]], "table": {"a": {"b": []}},
    "lone": "\ud800", "when": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), "money": Decimal("-1.25"),
}  # fmt: skip


def test_every_kind_of_value_comes_back() -> None:
    data = write_table(EVERYTHING)
    assert read_table(b"xx" + data + b"yy", 2) == (EVERYTHING, len(data) + 2)


def test_celerys_client_reads_what_we_write_and_we_what_it_writes() -> None:
    table = {key: value for key, value in EVERYTHING.items() if key not in ("lone", "bytes", "when", "money")}
    [(theirs,), _] = loads("F", write_table(table), 0)
    assert theirs == table
    assert read_table(dumps("F", [table]), 0)[0] == table


@pytest.mark.parametrize(
    "table", [{"x" * 256: 1}, {1: 2}, {"a": object()}, {"a": 2**63}, {"a": {"b": {1, 2}}}, {"\ud800": 1}]
)
def test_what_cannot_be_carried_is_refused(table: dict[Any, Any]) -> None:
    with pytest.raises(Unfit):
        write_table(table)


def test_nesting_is_bounded_both_ways() -> None:
    deep: Any = []
    table: Any = {}
    for _ in range(100):
        deep, table = [deep], {"t": table}
    for value in (deep, table):
        with pytest.raises(Unfit):
            write_table({"deep": value})
    data = b"\0\0\0\0"
    for _ in range(100):
        data = (len(data) + 3).to_bytes(4, "big") + b"\1tF" + data
    with pytest.raises(Malformed):
        read_table(data, 0)


@pytest.mark.parametrize(
    "item", [b"S\0\0\0\7abc", b"x\0\0\0\7abc", b"A\0\0\0\5VV", b"l\0\0\0", b"F\0\0\0\4\1aV"]
)
def test_a_list_whose_item_reaches_beyond_it_is_malformed(item: bytes) -> None:
    items = b"A" + len(item).to_bytes(4, "big") + item
    following = b"\5aftert\1"
    table = b"\1l" + items + following
    with pytest.raises(Malformed):
        read_table(len(table).to_bytes(4, "big") + table, 0)


def test_damaged_tables_are_malformed_and_nothing_worse() -> None:
    chance = random.Random(7)
    whole = write_table(EVERYTHING)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = bytes(data[: chance.randint(1, len(data))])
        try:
            read_table(cut, 0)
        except Malformed:
            continue


def test_frames_are_put_together_whatever_pieces_they_come_in() -> None:
    chance = random.Random(3)
    bodies = [chance.randbytes(size) for size in (0, 1, 100, 5000, 300_000)]
    deliver = frame(1, DELIVER, b"\1t" + b"\0" * 8 + b"\0\0\0")
    stream = b"".join(deliver + b"".join(content(1, b"\0\0", body, 4096)) for body in bodies)
    for _ in range(20):
        found: list[bytes] = []
        assembler = Assembler(lambda channel, method, payload, header, body, to=found: to.append(body))
        at = 0
        while at < len(stream):
            size = chance.choice((1, 7, 8, 1000, 70_000))
            assembler.feed(stream[at : at + size])
            at += size
        assert found == bodies


def test_what_is_no_amqp_says_so() -> None:
    assembler = Assembler(lambda *_: None)
    with pytest.raises(Failure, match="AMQP"):
        assembler.feed(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(Failure, match="AMQP"):
        Assembler(lambda *_: None).feed(b"\1\0\0\0\0\0\0A")
