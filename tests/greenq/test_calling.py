"""Calls as they are sent: what a message says, where it goes, and what is refused where it is called."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from greenq.app import GreenQ
from greenq.call import Call
from greenq.composer import new_id
from greenq.errors import (
    BrokerUnreachable,
    EncodeError,
    InvalidOption,
    InvalidTaskArguments,
    PublishTimeout,
)
from greenq.message import Message
from greenq.protocol import TaskCall, read
from greenq.request import Request, current
from tests.greenq.recording import recorded_app

CAPTURED = {
    case["name"]: case
    for case in json.loads((Path(__file__).parent / "wire" / "calls_protocol2.json").read_text())["cases"]
}
ID = "00000000-0000-0000-0000-000000000001"


def vec() -> tuple[GreenQ, Any]:
    """The application that Celery's captured messages were sent by."""
    app, broker, _ = recorded_app("vec")

    @app.task(name="vec.add")
    def add(x: int, y: int) -> int:
        return x + y

    return app, broker


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("plain", {}),
        ("eta", {"eta": datetime(2030, 1, 2, 3, 4, 5, 678, UTC)}),
        (
            "eta-other-zone",
            {"eta": datetime(2030, 1, 2, 8, 34, 5, 678, timezone(timedelta(hours=5, minutes=30)))},
        ),
        ("expires-datetime", {"expires": datetime(2030, 1, 2, 3, 4, 5, 678, UTC)}),
        ("time-limits", {"time_limit": 30, "soft_time_limit": 20}),
        ("retries", {"retries": 2}),
        (
            "root-parent",
            {
                "root_id": "00000000-0000-0000-0000-000000000008",
                "parent_id": "00000000-0000-0000-0000-000000000009",
            },
        ),
        ("group-id", {"group_id": "00000000-0000-0000-0000-000000000007", "group_index": 2}),
        ("shadow", {"shadow": "shown.name"}),
        ("ignore-result", {"ignore_result": True}),
        ("custom-headers", {"headers": {"trace": "abc", "n": 1}}),
        ("custom-queue", {"queue": "other"}),
    ],
)
def test_a_call_is_sent_as_celery_sends_it(case: str, options: dict[str, Any]) -> None:
    app, broker = vec()
    captured = CAPTURED[f"options/{case}"]
    app.tasks["vec.add"].apply_async((1, 2), task_id=ID, **options)
    assert_same(broker.sent[0], captured, app)


def test_an_unregistered_task_is_sent_as_celery_sends_it() -> None:
    app, broker = vec()
    app.send_task("not.registered", (1,), {"a": 2}, task_id=ID)
    assert_same(broker.sent[0], CAPTURED["options/send-task-unregistered"], app)


def test_shown_arguments_can_be_replaced() -> None:
    app, broker = vec()
    app.send_task("vec.echo", ("secret",), argsrepr="('***',)", kwargsrepr="{}")
    assert broker.sent[0].headers["argsrepr"] == "('***',)"
    assert "secret" not in str(broker.sent[0].headers)


def assert_same(message: Message, captured: dict[str, Any], app: GreenQ) -> None:
    theirs = captured["headers"] | {"origin": message.headers["origin"]}
    assert list(message.headers) == list(theirs)
    assert json.loads(json.dumps(message.headers)) == theirs
    assert message.queue == captured["queue"]
    assert (message.content_type, message.content_encoding) == (
        captured["content_type"],
        captured["content_encoding"],
    )
    call = read(message, app.codecs)
    assert json.loads(json.dumps([call.args, call.kwargs, call.embed])) == captured["decoded"]
    assert message.properties["correlation_id"] == message.headers["id"]


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_naive_eta_is_utc() -> None:
    app, broker = vec()
    app.tasks["vec.add"].apply_async((1, 2), eta=datetime(2030, 1, 2, 3, 4, 5))
    assert broker.sent[0].headers["eta"] == "2030-01-02T03:04:05+00:00"
    assert broker.sent[0].due == datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def test_a_countdown_is_an_eta() -> None:
    app, broker = vec()
    before = time.time()
    app.tasks["vec.add"].apply_async((1, 2), countdown=10)
    message = broker.sent[0]
    assert message.due is not None
    assert before + 10 <= message.due <= time.time() + 10
    assert datetime.fromisoformat(message.headers["eta"]).timestamp() == pytest.approx(message.due, abs=1e-5)


@pytest.mark.parametrize("countdown", [0, -5])
def test_a_countdown_that_is_over_means_now(countdown: float) -> None:
    app, broker = vec()
    app.tasks["vec.add"].apply_async((1, 2), countdown=countdown)
    assert (broker.sent[0].due, broker.sent[0].headers["eta"]) == (None, None)


def test_expiry_in_seconds_counts_from_the_call() -> None:
    app, broker = vec()
    app.tasks["vec.add"].apply_async((1, 2), expires=30)
    left = datetime.fromisoformat(broker.sent[0].headers["expires"]).timestamp() - time.time()
    assert 25 < left <= 30


# ── where it goes ────────────────────────────────────────────────────────────────────────────────────────


def test_the_nearest_to_the_call_chooses_the_queue() -> None:
    app, broker, _ = recorded_app(
        routes=[{"match": "mail.*", "queue": "mail", "priority": 4}, {"match": "*", "queue": "rest"}],
        queues={"bulk": {"priority": 7, "serializer": "msgpack"}},
    )
    app.task(name="mail.send", queue="own")(lambda: None)
    app.send_task("mail.read")
    app.send_task("other.thing")
    app.tasks["mail.send"].delay()
    app.tasks["mail.send"].apply_async(queue="bulk")
    app.tasks["mail.send"].apply_async(queue="bulk", priority=1, serializer="json")
    assert [(m.queue, m.priority, m.content_type) for m in broker.sent] == [
        ("mail", 4, "application/json"),
        ("rest", 0, "application/json"),
        ("own", 0, "application/json"),
        ("bulk", 7, "application/x-msgpack"),
        ("bulk", 1, "application/json"),
    ]


def test_a_large_body_is_compressed_and_says_so() -> None:
    app, broker, _ = recorded_app(tasks={"compression": "zlib", "compress_over": "1KiB"})
    app.send_task("a", ("x" * 10000,))
    app.send_task("a", ("x",))
    assert broker.sent[0].headers["compression"] == "application/x-gzip"
    assert len(broker.sent[0].body) < 1000
    assert "compression" not in broker.sent[1].headers
    assert read(broker.sent[0], app.codecs).args == ["x" * 10000]


def test_a_task_can_switch_compression_off() -> None:
    app, broker, _ = recorded_app(tasks={"compression": "zlib", "compress_over": 1})
    app.task(name="a", compression=None)(lambda: None)
    app.tasks["a"].delay()
    assert "compression" not in broker.sent[0].headers


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"contdown": 3}, "did you mean 'countdown'"),
        ({"link": 1}, "link must be a signature"),
        ({"exchange_type": "topic"}, "queues:"),
        ({"countdown": "soon"}, "countdown must be a number"),
        ({"countdown": True}, "countdown must be"),
        ({"countdown": float("nan")}, "countdown must be"),
        ({"countdown": 1e18}, "beyond the year 9999"),
        ({"eta": 5}, "eta must be a datetime"),
        ({"eta": datetime(2030, 1, 1), "countdown": 5}, "not both"),
        ({"expires": "1d"}, "expires must be"),
        ({"priority": 10}, "from 0 to 9"),
        ({"queue": ""}, "queue's name"),
        ({"queue": "a\nb"}, "queue's name"),
        ({"queue": "x" * 256}, "queue's name"),
        ({"headers": {"id": "x"}}, "belongs to the protocol"),
        ({"headers": {"x": object()}}, "must be text"),
        ({"headers": {1: 2}}, "strings as keys"),
        ({"headers": [1]}, "mapping"),
        ({"task_id": 5}, "task_id must be"),
        ({"task_id": "a" * 300}, "task_id must be"),
        ({"retries": -1}, "retries must be"),
        ({"time_limit": 0}, "above 0"),
        ({"time_limit": 5, "soft_time_limit": 6}, "must not be above"),
        ({"ignore_result": "yes"}, "True or False"),
        ({"shadow": 5}, "shadow must be"),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_called(options: dict[str, Any], says: str) -> None:
    app, broker = vec()
    with pytest.raises(InvalidOption, match=says) as caught:
        app.tasks["vec.add"].apply_async((1, 2), **options)
    assert "vec.add" in str(caught.value) or "9999" in str(caught.value)
    assert broker.sent == []


def test_arguments_that_do_not_fit_are_refused_where_it_is_called() -> None:
    app, broker = vec()
    add = app.tasks["vec.add"]
    for call in (
        lambda: add.delay(1),
        lambda: add.delay(1, 2, 3),
        lambda: add.delay(1, 2, z=3),
        lambda: add.apply_async((1,)),
        lambda: add.apply_async((1, 2), {"x": 1}),
        lambda: add.call(1),
    ):
        with pytest.raises(
            InvalidTaskArguments, match=r"vec\.add\(x: .*int.*, y: .*int.*\) cannot be called"
        ):
            call()
    assert broker.sent == []


def test_checks_of_arguments_can_be_switched_off() -> None:
    app, broker = vec()

    @app.task(typing=False)
    def loose(x: int) -> None: ...

    loose.apply_async((1, 2, 3))
    assert read(broker.sent[0], app.codecs).args == [1, 2, 3]


def test_a_bound_tasks_own_parameter_is_not_an_argument() -> None:
    app, broker = vec()

    @app.task(bind=True)
    def bound(self: Any, /, x: int = 3, *rest: int, flag: bool = False, **more: int) -> None: ...

    bound.delay()
    bound.delay(1, 2, 3, flag=True, other=5)
    with pytest.raises(InvalidTaskArguments, match="multiple values for argument 'x'"):
        bound.apply_async((1,), {"x": 2})
    assert len(broker.sent) == 2


def test_what_the_serializer_cannot_carry_is_refused_where_it_is_called() -> None:
    app, broker = vec()
    with pytest.raises(EncodeError):
        app.send_task("a", (object(),))
    with pytest.raises(EncodeError, match=r"tasks\.max_body"):
        recorded_app(tasks={"max_body": "1KiB"})[0].send_task("a", ("x" * 2000,))
    assert broker.sent == []


@pytest.mark.parametrize("name", ["", None, 5, "a\nb", "x" * 256])
def test_a_task_needs_a_name(name: Any) -> None:
    app, _ = vec()
    with pytest.raises(InvalidOption, match="task's name must be"):
        app.send_task(name)
    with pytest.raises(InvalidOption):
        app.task(name=name or "")(print)


def test_made_up_queue_names_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenq.planning.MOST_PLANS", 10)
    app, broker = vec()
    for number in range(50):
        app.send_task("a", queue=f"customer-{number}")
    assert len(app.composer._plans) <= 10
    assert [message.queue for message in broker.sent] == [f"customer-{number}" for number in range(50)]


@pytest.mark.parametrize("kwargs", [{1: 2}, [1], "ab"])
def test_keyword_arguments_must_be_keywords(kwargs: Any) -> None:
    app, _ = vec()
    with pytest.raises(InvalidTaskArguments):
        app.send_task("a", (), kwargs)


def test_an_unknown_serializer_is_refused_where_it_is_called() -> None:
    app, _ = vec()
    with pytest.raises(Exception, match=r"jsn.*json"):
        app.tasks["vec.add"].apply_async((1, 2), serializer="jsn")


def test_what_the_broker_says_reaches_the_caller() -> None:
    app, broker = vec()
    broker.refuse = lambda message: PublishTimeout("no answer")
    with pytest.raises(PublishTimeout):
        app.tasks["vec.add"].delay(1, 2)
    broker.away = BrokerUnreachable("nobody there")
    with pytest.raises(BrokerUnreachable):
        app.send_task("a")


# ── inside a task ────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_sends_another_is_its_parent() -> None:
    app, broker = vec()
    headers = {"task": "vec.add", "id": "me", "root_id": "root"}
    request = Request(TaskCall((), {}, {}, headers))
    token = current.set(request)
    try:
        child = app.tasks["vec.add"].delay(1, 2)
        app.tasks["vec.add"].apply_async((1, 2), add_to_parent=False)
        app.send_many([Call("x")])
    finally:
        current.reset(token)
    assert [(m.headers["root_id"], m.headers["parent_id"]) for m in broker.sent] == [("root", "me")] * 3
    assert request.children[0] is child
    assert len(request.children) == 2
    assert request.children_as_tuples()[0] == [[child.id, None], None]


def test_a_task_can_keep_no_trail() -> None:
    app, _ = vec()
    app.task(name="parent", trail=False)(lambda: None)
    request = Request(TaskCall((), {}, {}, {"task": "parent", "id": "me"}))
    token = current.set(request)
    try:
        app.send_task("x")
    finally:
        current.reset(token)
    assert request.children == []


def test_ids_are_random_uuids_of_version_4() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(UUID(id).version == 4 and str(UUID(id)) == id for id in ids)
    assert all(UUID(id).variant == "specified in RFC 4122" for id in ids)
