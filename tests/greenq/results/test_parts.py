"""Reading back what is kept of a chord's members, many at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from greenq import GreenQ
from greenq.chords import ChordPart
from greenq.errors import DecodeError
from greenq.results.base import ResultStore

_numbers = itertools.count()


@pytest.fixture(params=["json", "msgpack"])
def app(request: pytest.FixtureRequest) -> Iterator[GreenQ]:
    url = f"memory://parts-{next(_numbers)}"
    made = GreenQ("parts", broker=url, results={"url": url, "serializer": request.param})
    yield made
    made.close()


def store_of(app: GreenQ) -> ResultStore:
    assert app.results is not None
    return app.results


def payloads(app: GreenQ, values: list[Any]) -> list[bytes]:
    parts = [ChordPart("g", f"m{n}", n, "SUCCESS", value, {}) for n, value in enumerate(values)]
    for part in parts:
        store_of(app).encode_part(part)
    return [part.payload for part in parts]


def test_many_are_read_as_one_by_one(app: GreenQ) -> None:
    values: list[Any] = [1, None, "a,]b", [[]], {"x": [1, {}]}, "ü", 0.5, [], True]
    stored = payloads(app, values)
    store = store_of(app)
    assert list(store.decode_parts(stored)) == [(f"m{n}", "SUCCESS", value) for n, value in enumerate(values)]
    assert list(store.decode_parts(stored)) == [store.decode_part(payload) for payload in stored]
    assert list(store.decode_parts(stored[:1])) == [("m0", "SUCCESS", 1)]
    assert list(store.decode_parts([])) == []


@pytest.mark.parametrize(
    "broken",
    [b"", b"[", b"]", b"[1]", b"null", b"\xff", b'[1,"a","SUCCESS",1],[1,"b","SUCCESS",1]', b'[1,"a",7,1]'],
)
def test_one_that_is_broken_is_told_after_those_before_it(app: GreenQ, broken: bytes) -> None:
    stored = payloads(app, [1, 2, 3])
    found = store_of(app).decode_parts([*stored[:2], broken, stored[2]])
    assert [next(found)[2], next(found)[2]] == [1, 2]
    with pytest.raises(DecodeError):
        next(found)


def test_halves_that_only_make_sense_together_are_no_members(app: GreenQ) -> None:
    with pytest.raises(DecodeError):
        list(store_of(app).decode_parts([b'[1,"a","SUCCESS",[1', b"2]]", *payloads(app, [3])]))


def test_what_is_too_large_together_is_read_one_by_one() -> None:
    url = f"memory://parts-{next(_numbers)}"
    app = GreenQ("parts", broker=url, results=url, tasks={"max_body": "20KiB"})
    values = ["x" * 8000, "y" * 8000, "z" * 8000]
    stored = payloads(app, values)
    assert [value for _, _, value in store_of(app).decode_parts(stored)] == values
    app.close()


def test_compressed_ones_are_read() -> None:
    url = f"memory://parts-{next(_numbers)}"
    keep = {"url": url, "compression": "zlib", "compress_over": 100}
    app = GreenQ("parts", broker=url, results=keep)
    values: list[Any] = [1, "x" * 5000, 2, ["y" * 5000]]
    assert [value for _, _, value in store_of(app).decode_parts(payloads(app, values))] == values
    app.close()
