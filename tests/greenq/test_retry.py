"""When a task runs again, with what, and when it gives up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from greenq.app import GreenQ
from greenq.errors import Ignore, InvalidOption, MaxRetriesExceeded, Reject, Retry
from greenq.message import Message
from greenq.protocol import read
from greenq.request import Request, current
from greenq.retrying import backoff, merge_arguments
from greenq.task import Task
from tests.greenq.recording import RecordingBroker, recorded_app


class Passing(Exception):
    """A failure that may pass."""


def make(**options: Any) -> tuple[GreenQ, RecordingBroker, Task[..., Any]]:
    app, broker, _ = recorded_app()
    task: Task[..., Any] = app.task(name="buy", **options)(lambda a=1, b=2, *, c=3: None)
    return app, broker, task


@contextmanager
def run(app: GreenQ, broker: RecordingBroker, *args: Any, **options: Any) -> Iterator[Message]:
    """Send a call and be the worker that runs it."""
    app.tasks["buy"].apply_async(args, options.pop("kwargs", None), **options)
    message = broker.sent.pop()
    token = current.set(Request(read(message, app.codecs), message, "greenq@here"))
    try:
        yield message
    finally:
        current.reset(token)


# ── Task.retry ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_is_the_same_call_again_later() -> None:
    app, broker, task = make()
    with run(
        app, broker, 1, kwargs={"b": 5}, headers={"trace": "x"}, priority=7, queue="own", expires=900,
        time_limit=30, shadow="shown", reply_to="there", serializer="msgpack",
    ) as sent:  # fmt: skip
        before = time.time()
        with pytest.raises(Retry) as caught:
            task.retry(countdown=60, exc=Passing("no"))
        again = caught.value.publish
    changed = {"retries": 1, "eta": again.headers["eta"]}
    assert again.headers == sent.headers | changed
    assert before + 60 <= again.due <= time.time() + 60
    assert (again.body, again.content_type, again.queue, again.priority) == (
        sent.body, sent.content_type, "own", 7,
    )  # fmt: skip
    assert again.properties["reply_to"] == "there"
    assert (caught.value.when, str(caught.value)) == (60, "Retry in 60 s: Passing('no')")
    assert isinstance(caught.value.exc, Passing)
    assert broker.sent == []


def test_a_retry_of_a_retry_counts_on() -> None:
    app, broker, task = make()
    with run(app, broker, retries=2):
        retry = task.retry(throw=False)
    assert retry.publish.headers["retries"] == 3
    assert retry.when == 180.0


def test_a_retry_that_changes_arguments_encodes_them_anew() -> None:
    app, broker, task = make()
    with run(app, broker, 1, compression="zlib") as sent:
        retry = task.retry(args=(4,), kwargs={"b": 6}, countdown=0, throw=False)
    call = read(retry.publish, app.codecs)
    assert (call.args, call.kwargs) == ([4], {"b": 6})
    assert retry.publish.headers["argsrepr"] == "(4,)"
    assert retry.publish.headers["id"] == sent.headers["id"]
    assert retry.publish.due is None
    assert retry.again == ((4,), {"b": 6})


def test_a_retry_can_go_elsewhere() -> None:
    app, broker, task = make()
    with run(app, broker, 1):
        retry = task.retry(
            queue="slow", priority=1, time_limit=90, serializer="msgpack", headers={"a": 1}, throw=False
        )
    again = retry.publish
    assert (again.queue, again.priority, again.content_type) == ("slow", 1, "application/x-msgpack")
    assert (again.headers["timelimit"], again.headers["a"]) == ([90, None], 1)
    assert read(again, app.codecs).args == [1]


def test_a_retry_at_a_time_keeps_it() -> None:
    app, broker, task = make()
    eta = datetime.now(UTC) + timedelta(hours=1)
    with run(app, broker):
        retry = task.retry(eta=eta, throw=False)
    assert (retry.publish.due, retry.when) == (eta.timestamp(), eta)


def test_used_up_retries_raise_the_reason() -> None:
    app, broker, task = make(max_retries=2)
    with run(app, broker, "secret", retries=2, argsrepr="(…)"):
        with pytest.raises(Passing):
            task.retry(exc=Passing("no"))
        with pytest.raises(MaxRetriesExceeded, match=r"buy\[.*\] was retried 2 times.*\(…\)") as caught:
            task.retry()
        assert "secret" not in str(caught.value)
        assert task.retry(max_retries=3, throw=False).publish.headers["retries"] == 3


def test_none_means_for_ever() -> None:
    app, broker, task = make(max_retries=None)
    with run(app, broker, retries=1000):
        assert task.retry(throw=False).publish.headers["retries"] == 1001


def test_called_like_a_function_a_retry_raises_what_went_wrong() -> None:
    _, _, task = make()
    with pytest.raises(Passing):
        task.retry(exc=Passing())
    try:
        raise KeyError("x")
    except KeyError:
        with pytest.raises(KeyError):
            task.retry()
    with pytest.raises(Retry):
        task.retry()


def test_a_wrong_option_of_a_retry_is_refused() -> None:
    app, broker, task = make()
    with run(app, broker):
        with pytest.raises(InvalidOption, match="retry of buy"):
            task.retry(countdwn=5)  # type: ignore[call-arg]
        with pytest.raises(InvalidOption, match="not both"):
            task.retry(countdown=5, eta=datetime.now(UTC))


def test_rabbitmqs_own_headers_do_not_travel_on() -> None:
    app, broker, task = make()
    with run(app, broker) as sent:
        sent.headers["x-death"] = [{"count": 1}]
        retry = task.retry(throw=False)
    assert "x-death" not in retry.publish.headers


def test_a_version_1_call_is_retried_as_version_2() -> None:
    app, _, task = make()
    body = app.codecs.encode(
        {"task": "buy", "id": "1", "args": [7], "kwargs": {}, "retries": 1}, "json", "zlib"
    )
    old = Message("celery", {"compression": body.compression}, body.body, body.content_type, "utf-8")
    token = current.set(Request(read(old, app.codecs), old))
    try:
        again = task.retry(throw=False, countdown=0).publish
    finally:
        current.reset(token)
    assert (again.headers["id"], again.headers["retries"], again.headers["argsrepr"]) == ("1", 2, "[7]")
    assert "compression" not in again.headers
    assert read(again, app.codecs).args == [7]


def test_a_retry_survives_pickling() -> None:
    import pickle

    app, broker, task = make()
    with run(app, broker):
        retry = task.retry(exc=Passing("no"), throw=False)
    copy = pickle.loads(pickle.dumps(retry))
    assert (str(copy), copy.when, copy.publish) == (str(retry), retry.when, retry.publish)


@pytest.mark.parametrize(
    ("now", "args", "kwargs", "then"),
    [
        (((1,), {"b": 2}), None, None, (None, None)),
        (((1,), {"b": 2}), (5,), {"c": 6}, ((5,), {"c": 6})),
        (((1,), {"b": 2}), None, {"a": 5}, ((5,), {})),
        (((1,), {"b": 2}), None, {"b": 5}, ((1,), {"b": 5})),
        (((1, 2), {}), None, {"c": 5}, ((1, 2), {"c": 5})),
        (((1,), {"b": 2}), (5, 6), None, ((5, 6), {})),
        (((1,), {"c": 2}), (5,), None, ((5,), None)),
    ],
)
def test_given_arguments_replace_what_they_name_and_keep_the_rest(
    now: Any, args: Any, kwargs: Any, then: Any
) -> None:
    def fn(a: int, b: int = 2, *, c: int = 3) -> None: ...

    assert merge_arguments(fn, now, args, kwargs) == then


# ── autoretry ────────────────────────────────────────────────────────────────────────────────────────────


def test_expected_failures_are_retried_and_others_are_not() -> None:
    app, broker, task = make(autoretry_for=(Passing, OSError), dont_autoretry_for=FileNotFoundError)
    with run(app, broker):
        retry = task.autoretry(Passing("x"))
        assert retry is not None
        assert (retry.publish.headers["retries"], retry.when) == (1, 180.0)
        assert task.autoretry(TimeoutError()) is not None
        assert task.autoretry(FileNotFoundError()) is None
        assert task.autoretry(ValueError()) is None


def test_signals_are_never_retried() -> None:
    app, broker, task = make(autoretry_for=Exception)
    with run(app, broker):
        for signal in (Ignore(), Reject("x"), Retry("x"), MaxRetriesExceeded("x")):
            assert task.autoretry(signal) is None


def test_used_up_retries_end_it() -> None:
    app, broker, task = make(autoretry_for=Exception, max_retries=1)
    with run(app, broker):
        assert task.autoretry(Passing()) is not None
    with run(app, broker, retries=1):
        assert task.autoretry(Passing()) is None


def test_the_limit_that_the_task_gave_itself_counts() -> None:
    app, broker, task = make(autoretry_for=Exception)
    with run(app, broker, retries=1):
        with pytest.raises(Passing) as caught:
            task.retry(exc=Passing(), max_retries=1)
        assert task.autoretry(caught.value) is None


def test_retry_kwargs_say_how() -> None:
    app, broker, task = make(
        autoretry_for=Exception, retry_kwargs={"max_retries": 7, "countdown": 5, "queue": "q"}
    )
    with run(app, broker, retries=6):
        retry = task.autoretry(Passing())
        assert retry is not None
        assert (retry.when, retry.publish.queue) == (5, "q")
    with run(app, broker, retries=7):
        assert task.autoretry(Passing()) is None


def test_backoff_doubles_up_to_its_limit() -> None:
    app, broker, task = make(
        autoretry_for=Exception, max_retries=None, retry_backoff=3, retry_backoff_max=20, retry_jitter=False
    )
    waits = []
    for retries in range(5):
        with run(app, broker, retries=retries):
            retry = task.autoretry(Passing())
            assert retry is not None
            waits.append(retry.when)
    assert waits == [3, 6, 12, 20, 20]


def test_backoff_can_be_just_true() -> None:
    assert make(retry_backoff=True)[2].options.retry_backoff == 1.0
    assert make(retry_backoff=False)[2].options.retry_backoff == 0.0


def test_jitter_spreads_over_the_whole_wait() -> None:
    waits = [backoff(10, 3, 600, True) for _ in range(2000)]
    assert 0 <= min(waits) < 8
    assert 72 < max(waits) <= 80
    assert backoff(1, 100000, 600, False) == 600
