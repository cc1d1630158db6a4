"""The protocol, read in plain Python as hiredis reads it, however the bytes are cut."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenq.redis import resp

leaves = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda n: b":%d\r\n" % n),
    st.binary(max_size=40).map(lambda b: b"$%d\r\n%b\r\n" % (len(b), b)),
    st.sampled_from([b"+OK\r\n", b"_\r\n", b"$-1\r\n", b"*-1\r\n", b"#t\r\n", b"#f\r\n", b",1.5\r\n"]),
    st.text("abc DEF", max_size=20).map(lambda t: b"-ERR %b\r\n" % t.encode()),
)


def _several(kind: bytes) -> Any:
    return lambda items: kind + b"%d\r\n" % len(items) + b"".join(items)


values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(_several(b"*")), st.lists(inner, max_size=4).map(_several(b"~"))
    ),
    max_leaves=12,
)
replies = st.one_of(values, st.lists(values, min_size=1, max_size=3).map(_several(b">")))


def read_all(reader: resp.Parser, pieces: list[bytes]) -> list[Any]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (value := reader.gets()) is not resp.MORE:
            found.append(value)
    return found


def plain(value: Any) -> Any:
    """Make values of both readers comparable."""
    if isinstance(value, resp.ReplyError):
        return ("error", str(value))
    if isinstance(value, list):
        return ("push" if type(value) in resp.PUSHES else "list", [plain(item) for item in value])
    return value


@given(st.lists(replies, max_size=5), st.lists(st.integers(1, 30), max_size=20))
def test_it_reads_what_hiredis_reads_however_the_bytes_are_cut(data: list[bytes], cuts: list[int]) -> None:
    text = b"".join(data)
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(text[start : start + cut])
        start += cut
    pieces.append(text[start:])
    expected = hiredis.Reader(
        protocolError=resp.ProtocolError, replyError=resp.ReplyError, notEnoughData=resp.MORE
    )
    assert plain(read_all(resp.Reader(), pieces)) == plain(read_all(expected, [text]))


@given(st.lists(st.one_of(st.text(), st.binary(), st.integers(), st.floats()), min_size=1))
def test_it_packs_what_hiredis_packs(command: list[Any]) -> None:
    try:
        expected = hiredis.pack_command(tuple(command))
    except UnicodeEncodeError:
        return
    assert resp._pack(command) == expected


def test_maps_become_dictionaries() -> None:
    assert read_all(resp.Reader(), [b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n"]) == [{b"a": 1, b"b": [2]}]


def test_a_large_value_in_many_pieces_costs_no_more_than_its_size() -> None:
    body = b"x" * 20_000_000
    text = b"*2\r\n$%d\r\n%b\r\n:1\r\n" % (len(body), body)
    pieces = [text[i : i + 16384] for i in range(0, len(text), 16384)]
    assert read_all(resp.Reader(), pieces) == [[body, 1]]


@pytest.mark.parametrize("text", [b"HTTP/1.1 400 Bad Request\r\n", b"$abc\r\n", b"#x\r\n", b":\r\n"])
def test_what_is_not_the_protocol_is_an_error(text: bytes) -> None:
    with pytest.raises(resp.ProtocolError):
        read_all(resp.Reader(), [text])
