"""What the fuzzer found, each with its input: none of these may come back."""

from __future__ import annotations

import json
import socket
import threading
import time
from struct import pack
from typing import Any

import pytest

from greenq import AsyncResult
from greenq.amqp.envelope import Unreadable as AmqpUnreadable
from greenq.amqp.envelope import unpack as unpack_content
from greenq.amqp.tables import Unfit, write_table
from greenq.brokers.channel import revived
from greenq.errors import InvalidOption, ResultStoreError
from greenq.message import Delivery, Message, Outcome, Result, Verdict
from greenq.redis.address import parse
from greenq.redis.client import Client
from greenq.redis.envelope import Unreadable, unpack
from greenq.redis.failures import Failure
from greenq.redis.link import Link
from greenq.worker.handlers import limits_of
from tests.fuzz.pipeline import application, end_of, ends_once
from tests.fuzz.readers import OneResult

BODY = b"[[1], {}, {}]"
HEAD = b"\0\x3c\0\0" + len(BODY).to_bytes(8, "big")


def envelope(**changed: Any) -> bytes:
    tree = {
        "body": BODY.decode(), "content-type": "application/json", "content-encoding": "utf-8",
        "headers": {"task": "vec.add", "id": "1"}, "properties": {},
    }  # fmt: skip
    return json.dumps({**tree, **changed}).encode()


def run(headers: dict[str, Any], body: bytes = BODY) -> Outcome:
    return end_of(Delivery(Message("celery", headers, body, "application/json", "utf-8"), "celery", ()))


@pytest.mark.parametrize(
    "value",
    [
        {"__type__": "decimal", "__value__": "no number"},
        {"__type__": "datetime", "__value__": 5},
        {"__type__": "uuid", "__value__": {"hex": "x", "version": 77}},
        {"__type__": ["x"], "__value__": 5},
    ],
)
def test_an_extended_type_that_is_none_makes_a_redis_message_unreadable(value: Any) -> None:
    with pytest.raises(Unreadable):
        unpack("celery", envelope(headers={"task": "vec.add", "id": "1", "x": value}))


@pytest.mark.parametrize("header", [HEAD, HEAD + b"\x20", HEAD + pack(">HI", 1 << 13, 99)])
def test_properties_that_are_cut_off_make_an_amqp_message_unreadable(header: bytes) -> None:
    with pytest.raises(AmqpUnreadable):
        unpack_content("celery", header, BODY)


def test_a_time_beyond_every_calendar_makes_an_amqp_message_unreadable() -> None:
    value = b"\1xT" + pack(">q", 2**62)
    with pytest.raises(AmqpUnreadable):
        unpack_content("celery", HEAD + pack(">HI", 1 << 13, len(value)) + value, BODY)


def test_headers_that_revive_to_something_else_are_no_headers() -> None:
    with pytest.raises(TypeError):
        revived({"__type__": "bytes", "__value__": "YWJj"})


@pytest.mark.parametrize("id", ["\ud800", "a\0b"])
def test_an_id_that_no_store_could_keep_a_result_under_is_refused(id: str) -> None:
    outcome = run({"task": "vec.add", "id": id})
    assert outcome.settlement is not None
    assert outcome.settlement.verdict is Verdict.DEAD
    assert "Unicode" in (outcome.settlement.reason or "")
    assert outcome.result is None


def test_such_an_id_of_an_unknown_task_leaves_no_result_either() -> None:
    assert run({"task": "vec.gone", "id": "\udfff"}).result is None


def test_what_is_received_over_amqp_can_be_kept_as_dead_whatever_its_headers() -> None:
    value = b"\1xd" + pack(">d", float("nan"))
    header = HEAD + pack(">HI", 1 << 13, len(value)) + value
    message = unpack_content("celery", header, BODY)[0]
    assert ends_once(Delivery(message, "celery", ("x", 1, 1)), "amqp") == "dead REJECTED"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_rabbitmq_cannot_read_is_refused_before_it_is_sent(value: float) -> None:
    with pytest.raises(Unfit, match="RabbitMQ"):
        write_table({"x": [value]})


@pytest.mark.parametrize("when", [5, "yesterday", ["2030"], {"a": 1}])
def test_a_result_with_an_odd_date_says_so(when: Any) -> None:
    result: AsyncResult[Any] = AsyncResult("1", OneResult(Result("1", "SUCCESS", 5, date_done=when)))
    with pytest.raises(ResultStoreError, match="date_done"):
        _ = result.date_done
    assert result.result == 5


@pytest.mark.parametrize("children", [5, True, "x", [5], [[["1", [[]]], None]]])
def test_a_result_with_odd_children_says_so(children: Any) -> None:
    result: AsyncResult[Any] = AsyncResult("1", OneResult(Result("1", "SUCCESS", 5, children=children)))
    with pytest.raises(ResultStoreError, match="child"):
        _ = result.children


def test_parents_without_end_are_told() -> None:
    entry: Any = [["1", None], None]
    for _ in range(5000):
        entry = [["1", entry], None]
    result: AsyncResult[Any] = AsyncResult("1", OneResult(Result("1", "SUCCESS", 5, children=[entry])))
    with pytest.raises(ResultStoreError, match="child"):
        _ = result.children


def test_a_redis_server_that_answers_nonsense_is_named_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            client.sendall(b"+OK\r\n+OK\r\n%1\r\n*1\r\n:1\r\n:2\r\n")
            client.recv(1)
            client.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        link = Link(parse(f"redis://127.0.0.1:{port}"), time.monotonic() + 30)
        with pytest.raises(Failure, match="no Redis server"):
            link.next(time.monotonic() + 30)
        link.close()
        thread.join(30)


@pytest.mark.parametrize("answer", [[1], 1, [b"{}", b"{}"], [[b"{}"]], None])
def test_a_redis_server_that_answers_a_look_for_a_result_with_nonsense_is_named_as_such(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "do", lambda *_, **__: answer)
    app = application("memory://nonsense", "redis://127.0.0.1")
    assert app.results is not None
    with pytest.raises(ResultStoreError, match="makes no sense"):
        app.results.get(["1"], 30.0)


@pytest.mark.parametrize("limit", [10**400, -(10**400), float("nan"), float("inf"), 1e300, -1, True])
def test_a_limit_that_no_clock_has_is_refused_by_name(limit: Any) -> None:
    outcome = run({"task": "vec.add", "id": "1", "timelimit": [None, limit]})
    assert outcome.settlement is not None
    assert "timelimit" in (outcome.settlement.reason or "")


@pytest.mark.parametrize("limit", [0, -5, float("nan")])
def test_a_limit_of_nothing_ends_no_run_before_the_message_is_read(limit: float) -> None:
    assert limits_of(None, {"timelimit": [limit, limit]}) == (None, None)


def test_a_reason_that_quotes_the_whole_message_is_cut() -> None:
    body = b'[[{"__type__": "datetime", "__value__": "%s"}], {}, {}]' % (b"9" * 100_000)
    outcome = run({"task": "vec.add", "id": "1"}, body)
    assert outcome.settlement is not None
    assert len(outcome.settlement.reason or "") < 2000
    assert outcome.result is not None
    assert len(outcome.result.payload) < 5000


@pytest.mark.parametrize("seconds", [10**400, -(10**400)])
def test_options_beyond_every_float_are_refused_and_not_choked_on(seconds: int) -> None:
    with pytest.raises(InvalidOption):
        application().send_task("vec.add", (), countdown=seconds)
