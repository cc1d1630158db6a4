"""Whatever arrives is read or refused by name: nothing else ever comes out of `read`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from greenq.codecs import Codecs
from greenq.errors import MessageError
from greenq.message import Message
from greenq.protocol import EMBED, HEADERS, read
from greenq.request import Request

CODECS = Codecs(accept=("json", "msgpack"))
TEXT = st.text(max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just("2030-01-01T00:00:00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*HEADERS, "compression", "x"])
SET_LATER = {"began", "foreign"}
"""Fields of a request that somebody else sets, where there is need."""
GOOD = {"task": "a", "id": "1"}
BODY = VALUE | st.tuples(VALUE, VALUE, VALUE | st.just(EMBED)).map(list) | st.just([[1], {"a": 2}, EMBED])


def read_or_refuse(message: Message) -> None:
    refusal = None
    try:
        call = read(message, CODECS)
    except MessageError as error:
        refusal = str(error)
    if refusal is not None:
        assert 0 < len(refusal) < 500
        return
    request = Request(call, message)
    for name in dir(Request):
        if not name.startswith("_") and name not in SET_LATER:
            getattr(request, name)
    repr(request)


@settings(max_examples=400, deadline=None)
@given(headers=st.dictionaries(NAMES, VALUE, max_size=4), body=BODY, named=st.booleans())
def test_any_headers_and_body(headers: dict[str, Any], body: Any, named: bool) -> None:
    encoded = CODECS.encode(body, "json")
    whole = {**GOOD, **headers} if named else headers
    read_or_refuse(Message("celery", whole, encoded.body, encoded.content_type, encoded.content_encoding))


@settings(max_examples=300, deadline=None)
@given(
    body=st.binary(max_size=60),
    kind=st.sampled_from(
        ["application/json", "application/x-msgpack", "text/plain", "", "application/x-yaml"]
    ),
    compression=st.sampled_from([None, "application/x-gzip", "application/zstd", "nonsense"]),
    named=st.booleans(),
)
def test_any_bytes(body: bytes, kind: str, compression: str | None, named: bool) -> None:
    headers = {**GOOD, "compression": compression} if named else {"compression": compression}
    read_or_refuse(Message("celery", headers, body, kind, "utf-8"))


@settings(max_examples=300, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from([*HEADERS, "args", "kwargs", *EMBED, "taskset"]), VALUE, max_size=5
    )
)
def test_any_version_1_body(fields: dict[str, Any]) -> None:
    encoded = CODECS.encode({**GOOD, **fields}, "json")
    read_or_refuse(Message("celery", {}, encoded.body, encoded.content_type, encoded.content_encoding))
