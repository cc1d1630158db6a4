"""Messages on the list: what kombu wrote is read, and what nobody could have written is told apart."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenq.redis.envelope import Unreadable, due_of, pack, unpack
from greenq.testing.messages import make

GOOD: dict[str, Any] = json.loads(pack(make("good")))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=5), st.binary(), st.integers(0, 9), st.text(min_size=1)
)
def test_any_message_comes_back(headers: dict[str, Any], body: bytes, priority: int, queue: str) -> None:
    if any(0xD800 <= ord(c) < 0xE000 for c in queue) or "__type__" in json.dumps(headers):
        return
    message = make(queue=queue, headers=headers, body=body, priority=priority)
    assert unpack(queue, pack(message)) == message


@given(st.binary())
def test_any_bytes_are_a_message_or_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack("q", raw)


@given(st.sampled_from([*GOOD, *(("properties", name) for name in GOOD["properties"])]), json_values)
def test_any_value_in_any_place_is_a_message_or_unreadable(place: Any, value: Any) -> None:
    envelope = json.loads(json.dumps(GOOD))
    if isinstance(place, tuple):
        envelope["properties"][place[1]] = value
    else:
        envelope[place] = value
    with contextlib.suppress(Unreadable):
        message = unpack("q", json.dumps(envelope).encode())
        assert isinstance(message.headers, dict)
        assert isinstance(message.body, bytes)
        assert 0 <= message.priority <= 9
        due_of(message)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "shape of a message"),
        (b'"text"', "shape of a message"),
        (b"null", "shape of a message"),
        (b"[" * 100_000, "nested too deep"),
        (b"{}", "no 'properties'"),
        (json.dumps(GOOD | {"body": "not base64!"}).encode(), "not base64"),
        (json.dumps(GOOD | {"body": 5}).encode(), "shape of a message"),
        (json.dumps(GOOD | {"headers": []}).encode(), "wrong type"),
        (json.dumps(GOOD | {"properties": None}).encode(), "shape of a message"),
        (json.dumps(GOOD | {"properties": {"body_encoding": "rot13"}}).encode(), "unknown encoding 'rot13'"),
        (json.dumps(GOOD | {"headers": {"a": {"__type__": "os.system", "__value__": 1}}}).encode(), "shape"),
    ],
)
def test_what_is_wrong_is_said(raw: bytes, why: str) -> None:
    with pytest.raises(Unreadable) as caught:
        unpack("q", raw)
    assert why in str(caught.value)


@pytest.mark.parametrize("left_out", [{}, {"headers": None}])
def test_a_message_without_headers_has_none(left_out: dict[str, Any]) -> None:
    raw = {name: value for name, value in GOOD.items() if name != "headers"} | left_out
    assert unpack("q", json.dumps(raw).encode()).headers == {}


@pytest.mark.parametrize("eta", [None, 5, "soon", "9999-99-99", "", [], "0001-01-01T00:00:00+23:59"])
def test_a_bad_eta_is_left_to_the_runner(eta: Any) -> None:
    assert due_of(make(headers={"eta": eta})) is None or eta.startswith("0001")
