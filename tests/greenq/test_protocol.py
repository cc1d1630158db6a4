"""Task messages as they arrive: real ones of Celery's, and wrong ones of every kind."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from greenq.codecs import Codecs
from greenq.errors import MessageError
from greenq.message import Message
from greenq.protocol import HEADERS, moment, name_of, read, template, upgraded

WIRE = Path(__file__).parent / "wire"
CODECS = Codecs(accept=("json", "msgpack", "yaml", "pickle"))


def cases(version: int) -> list[Any]:
    content = json.loads((WIRE / f"calls_protocol{version}.json").read_text())
    return [pytest.param(case, id=case["name"]) for case in content["cases"]]


def message_of(case: dict[str, Any]) -> Message:
    return Message(
        queue=case["queue"],
        headers=case["headers"],
        body=base64.b64decode(case["body"]),
        content_type=case["content_type"],
        content_encoding=case["content_encoding"],
    )


def plain(value: Any) -> Any:
    """A decoded value as the captured files show it."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, bytes):
        return {"__bytes_base64__": base64.b64encode(value).decode()}
    return value if isinstance(value, str | int | float | None) else {"__repr__": repr(value)}


@pytest.mark.parametrize("case", cases(2))
def test_celerys_messages_are_read_as_celery_reads_them(case: dict[str, Any]) -> None:
    call = read(message_of(case), CODECS)
    assert plain([call.args, call.kwargs, call.embed]) == plain(case["decoded"])
    assert call.headers is case["headers"]


@pytest.mark.parametrize("case", cases(1))
def test_version_1_is_read_into_the_same_call(case: dict[str, Any]) -> None:
    call = read(message_of(case), CODECS)
    before = case["decoded"]
    assert (plain(call.args), plain(call.kwargs)) == (before["args"], before["kwargs"])
    for key in ("task", "id", "retries", "eta", "expires", "group_index"):
        assert call.headers[key] == before[key]
    assert call.headers["group"] == before["taskset"]
    assert call.embed["callbacks"] == before["callbacks"]
    assert call.embed["chord"] == before["chord"]
    assert call.headers["root_id"] == before["id"]


@pytest.mark.parametrize("case", cases(1))
def test_an_upgraded_version_1_tells_whose_it_is_and_is_the_same_call(case: dict[str, Any]) -> None:
    message = message_of(case)
    before, made = read(message, CODECS), upgraded(message, CODECS)
    assert (made.headers["task"], made.headers["id"]) == (case["decoded"]["task"], case["decoded"]["id"])
    assert made.headers == {k: v for k, v in before.headers.items() if k != "compression"}
    after = read(made, CODECS)
    assert (list(after.args), after.kwargs, after.embed) == (list(before.args), before.kwargs, before.embed)
    assert (after.eta, after.expires, after.time_limit) == (before.eta, before.expires, before.time_limit)


@pytest.mark.parametrize("own", [{"task": "b"}, {"id": "2"}, {"id": None}])
def test_headers_of_another_call_do_not_fit_a_version_1_body(own: dict[str, Any]) -> None:
    body = json.dumps({"task": "a", "id": "1", "args": []}).encode()
    message = Message("q", {"task": "a", "id": "1"} | own, body, "application/json", "utf-8")
    with pytest.raises(MessageError, match="protocol 2 needs a list"):
        read(message, CODECS)


def test_a_v1_message_names_its_task_only_inside() -> None:
    v1, v2 = (message_of(cases(version)[0].values[0]) for version in (1, 2))
    assert name_of(v1) is None
    assert name_of(v2) == "vec.echo"


def call_with(body: Any = None, **headers: Any) -> Message:
    """A good message but for what is given."""
    good = template("shop.add", "test", False) | {"id": "1", "root_id": "1"} | headers
    value = (
        [[1], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
        if body is None
        else body
    )
    encoded = CODECS.encode(value, "json")
    kept = {key: value for key, value in good.items() if value is not ...}
    return Message("celery", kept, encoded.body, encoded.content_type, encoded.content_encoding)


def test_times_and_limits_are_read_once() -> None:
    call = read(
        call_with(
            eta="2030-01-02T03:04:05.000678+05:30", expires="2030-01-02T03:04:05", timelimit=[30, None]
        ),
        CODECS,
    )
    assert call.eta == datetime.fromisoformat("2030-01-02T03:04:05.000678+05:30").timestamp()
    assert call.expires == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert (call.time_limit, call.soft_time_limit) == (30.0, None)


def test_celerys_zero_limit_means_none() -> None:
    assert read(call_with(timelimit=[0, 0]), CODECS).time_limit is None


def test_few_headers_are_enough() -> None:
    message = call_with()
    message.headers = {"task": "shop.add", "id": "1"}
    call = read(message, CODECS)
    assert (call.args, call.eta, call.expires, call.time_limit) == ([1], None, None, None)


EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("text", "the body is of type str"),
        (7, "the body is of type int"),
        ([], "a list of 0"),
        ([[], {}], "a list of 2"),
        ([[], {}, EMBED, 1], "a list of 4"),
        ({"args": []}, "a dict of 1"),
        ([{"a": 1}, {}, EMBED], "args is a dict"),
        (["ab", ["x"], EMBED], "args is of type str"),
        ([None, {}, EMBED], "args is missing"),
        ([[], [], EMBED], "kwargs is a list"),
        ([[], None, EMBED], "kwargs is missing"),
        ([[], {}, None], "third part is missing"),
        ([[], {}, []], "third part is a list"),
        ([[], {}, {"callbacks": "x"}], "callbacks is of type str"),
        ([[], {}, {"callbacks": ["x"]}], "callbacks holds of type str"),
        ([[], {}, {"errbacks": [{"args": []}]}], "errbacks holds a dict of 1"),
        ([[], {}, {"chain": {"task": "x"}}], "chain is a dict"),
        ([[], {}, {"chord": []}], "chord holds a list"),
        ([[], {}, {"chord": {"task": 3}}], "chord holds a dict"),
    ],
)
def test_a_wrong_body_says_what_is_wrong(body: Any, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        read(call_with(body), CODECS)


def test_a_keyword_that_is_no_string_is_refused() -> None:
    message = call_with()
    encoded = CODECS.encode([[], {1: 2}, EMBED], "msgpack")
    message.body, message.content_type = encoded.body, encoded.content_type
    with pytest.raises(MessageError):
        read(message, CODECS)


@pytest.mark.parametrize(
    "headers",
    [
        {"id": ...}, {"id": None}, {"id": ""}, {"id": 7}, {"id": ["a"]},
        {"task": None}, {"task": ""}, {"task": 7}, {"task": {"a": 1}},
        {"retries": -1}, {"retries": "1"}, {"retries": True}, {"retries": 1.5},
        {"eta": "soon"}, {"eta": 5}, {"eta": ["2030-01-01"]}, {"eta": "9999-99-99"}, {"eta": {}},
        {"expires": "later"}, {"expires": 1e400}, {"expires": ""},
        {"timelimit": 5}, {"timelimit": [1]}, {"timelimit": [1, 2, 3]}, {"timelimit": ["1", None]},
        {"timelimit": [-1, None]}, {"timelimit": [None, float("nan")]}, {"timelimit": {"hard": 1}},
        {"timelimit": [True, None]}, {"timelimit": "ab"},
        {"root_id": 5}, {"parent_id": []}, {"group": 5}, {"group_index": "0"}, {"shadow": 5},
        {"argsrepr": 5}, {"kwargsrepr": {}}, {"origin": 1}, {"replaced_task_nesting": "x"},
        {"stamps": [1]}, {"stamped_headers": "abc"}, {"stamped_headers": [1]},
        {"compression": "application/x-unknown"}, {"compression": 7}, {"compression": ["zlib"]},
        {"ignore_result": "yes"},
    ],
)  # fmt: skip
def test_a_wrong_header_is_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(MessageError) as caught:
        read(call_with(**headers), CODECS)
    assert next(iter(headers)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_headers_that_are_no_mapping_are_refused() -> None:
    message = call_with()
    message.headers = ["task"]  # type: ignore[assignment]
    with pytest.raises(MessageError, match="headers"):
        read(message, CODECS)


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[[", b'{"task": "x"', b"null"])
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    message = call_with()
    message.body = body
    with pytest.raises(MessageError):
        read(message, CODECS)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"task": "x"}, {"task": "x", "id": 5}, {"task": 5, "id": "1"},
        {"task": "x", "id": "1", "args": 5},
        {"task": "x", "id": "1", "kwargs": []}, {"task": "x", "id": "1", "callbacks": 5},
        {"task": "x", "id": "1", "eta": "soon"}, {"task": "x", "id": "1", "timelimit": 3}, [], "x", None,
    ],
)  # fmt: skip
def test_a_wrong_version_1_body_is_refused(body: Any) -> None:
    encoded = CODECS.encode(body, "json")
    with pytest.raises(MessageError):
        read(Message("celery", {}, encoded.body, encoded.content_type, encoded.content_encoding), CODECS)


def test_the_template_has_celerys_headers_in_celerys_order() -> None:
    first = cases(2)[0].values[0]
    assert isinstance(first, dict)
    made = template("vec.echo", "gen1@here", False)
    assert list(made) == list(first["headers"])
    assert made.keys() == HEADERS.keys()


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("eta", "1970-01-01T00:00:10") == 10.0
