"""Results: asking, waiting, and what comes back of a failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from greenq.app import GreenQ
from greenq.asyncresult import AsyncResult
from greenq.errors import GreenqError, RemoteError, ResultStoreError, ResultTimeout, TaskRevoked
from greenq.failures import describe
from greenq.joining import allow_join_result
from greenq.message import Result
from greenq.protocol import TaskCall
from greenq.request import Request, current
from tests.greenq.recording import DictStore, recorded_app


@contextmanager
def inside_a_task() -> Iterator[None]:
    token = current.set(Request(TaskCall((), {}, {}, {"task": "a", "id": "me"})))
    try:
        yield
    finally:
        current.reset(token)


def ended(
    app: GreenQ, store: DictStore, state: str = "SUCCESS", value: Any = None, **more: Any
) -> AsyncResult[Any]:
    store.end("1", state, value, **more)
    return app.AsyncResult("1")


def test_a_pending_result_knows_nothing() -> None:
    app, _, _ = recorded_app()
    result = app.AsyncResult("1")
    assert (result.state, result.status, result.result, result.info) == ("PENDING", "PENDING", None, None)
    assert (result.ready(), result.successful(), result.failed()) == (False, False, False)
    assert (result.traceback, result.date_done, result.children) == (None, None, [])


def test_a_success_has_its_value() -> None:
    app, _, store = recorded_app()
    result = ended(app, store, value={"a": [1]}, date_done="2026-01-02T03:04:05+00:00")
    assert (result.get(), result.ready(), result.successful()) == ({"a": [1]}, True, True)
    assert result.date_done == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_failure_comes_back_as_its_own_exception_with_the_remote_traceback() -> None:
    app, _, store = recorded_app()
    result = ended(app, store, "FAILURE", describe(KeyError("x")), traceback="Traceback: there")
    with pytest.raises(KeyError) as caught:
        result.get()
    assert caught.value.args == ("x",)
    assert "Traceback: there" in str(caught.value.__cause__)
    assert isinstance(result.get(propagate=False), KeyError)
    assert isinstance(result.result, KeyError)
    assert (result.failed(), result.traceback) == (True, "Traceback: there")


def test_a_revoked_task_raises() -> None:
    app, _, store = recorded_app()
    record = {"exc_type": "TaskRevokedError", "exc_message": ["expired"], "exc_module": "celery.exceptions"}
    with pytest.raises(TaskRevoked, match="expired"):
        ended(app, store, "REVOKED", record).get()


def test_a_retry_is_not_an_end() -> None:
    app, _, store = recorded_app()
    result = ended(app, store, "RETRY", describe(ValueError("again")))
    assert isinstance(result.info, ValueError)
    with pytest.raises(ResultTimeout):
        result.get(timeout=0.05)


def test_waiting_has_a_deadline_that_says_the_task_may_go_on() -> None:
    app, _, _ = recorded_app()
    with pytest.raises(ResultTimeout, match=r"task 1 did not end within 0\.05 s; it may still be running"):
        app.AsyncResult("1").get(timeout=0.05)
    with pytest.raises(TimeoutError):
        app.AsyncResult("1").get(0)


def test_an_end_is_asked_for_once() -> None:
    app, _, store = recorded_app()
    result = ended(app, store, value=5)
    assert result.get() == 5
    store.payloads.clear()
    assert (result.get(), result.state, result.result) == (5, "SUCCESS", 5)
    result.forget()
    assert result.state == "PENDING"


def test_children_come_with_their_parents() -> None:
    app, _, store = recorded_app()
    result = ended(app, store, children=[[["2", None], None], [["3", [["4", None], None]], None]])
    assert [child.id for child in result.children] == ["2", "3"]
    assert result.children[1].parent == "4"
    assert result.children[1].as_tuple() == [["3", [["4", None], None]], None]
    store.end("1", "SUCCESS", children=["nonsense"])
    with pytest.raises(ResultStoreError, match="nonsense"):
        _ = app.AsyncResult("1").children


def test_forgetting_forgets_the_parents_too() -> None:
    app, _, store = recorded_app()
    store.end("1", "SUCCESS")
    store.end("2", "SUCCESS")
    AsyncResult("2", app, parent=AsyncResult("1", app)).forget()
    assert store.payloads == {}


def test_an_ignored_result_is_none_at_once() -> None:
    app, _, store = recorded_app()
    task = app.task(name="a", ignore_result=True)(lambda: None)
    assert task.delay().get() is None
    assert app.send_task("b", ignore_result=True).get() is None
    assert store.waits == 0


def test_without_a_store_asking_says_what_to_set() -> None:
    app = GreenQ("shop", broker="memory://a", results={"url": None})
    with pytest.raises(ResultStoreError, match=r"results\.url"):
        app.AsyncResult("1").get(timeout=1)
    with pytest.raises(ResultStoreError, match=r"results\.url"):
        _ = app.AsyncResult("1").state


def test_a_result_without_application_cannot_be_revoked() -> None:
    with pytest.raises(GreenqError, match="no application"):
        AsyncResult("1", None).revoke()


def test_results_compare_by_id() -> None:
    app, _, _ = recorded_app()
    one, same, other = app.AsyncResult("1"), app.AsyncResult("1"), app.AsyncResult("2")
    assert one == same == "1"
    assert one != other
    assert len({one, same, other}) == 2
    assert (str(one), repr(one)) == ("1", "<AsyncResult 1>")
    with pytest.raises(ValueError, match="id must be"):
        app.AsyncResult("")


def test_an_id_of_another_type_is_refused() -> None:
    app, _, _ = recorded_app()
    with pytest.raises(ValueError, match="id must be"):
        app.AsyncResult(None)  # type: ignore[arg-type]


def test_waiting_inside_a_task_is_refused_unless_allowed() -> None:
    app, _, store = recorded_app()
    result = ended(app, store, value=5)
    with inside_a_task():
        with pytest.raises(RuntimeError, match="must not wait"):
            result.get()
        with pytest.raises(RuntimeError):
            app.wait([result])
        assert result.get(disable_sync_subtasks=False) == 5
        with allow_join_result():
            assert (result.get(), app.wait([result])) == (5, [5])
        assert result.ready()


# ── many ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_are_waited_for_at_once_and_returned_in_order() -> None:
    app, _, store = recorded_app()
    for id in "123":
        store.end(id, "SUCCESS", int(id))
    results = [app.AsyncResult(id) for id in "3121"]
    assert app.wait(results, timeout=1) == [3, 1, 2, 1]
    assert store.waits == 1
    assert app.wait([]) == []


def test_a_failure_among_many_is_raised_or_returned() -> None:
    app, _, store = recorded_app()
    store.end("1", "SUCCESS", 1)
    store.end("2", "FAILURE", describe(KeyError("x")))
    results = [app.AsyncResult("1"), app.AsyncResult("2")]
    with pytest.raises(KeyError):
        app.wait(results)
    values = app.wait([app.AsyncResult("1"), app.AsyncResult("2")], propagate=False)
    assert values[0] == 1
    assert isinstance(values[1], KeyError)


def test_many_are_told_as_they_end() -> None:
    app, _, store = recorded_app()
    for id in "12":
        store.end(id, "SUCCESS", int(id))
    late = threading.Timer(0.1, store.end, ("3", "SUCCESS", 3))
    late.start()
    seen = [result.id for result in app.as_completed([app.AsyncResult(id) for id in "321"], timeout=30)]
    late.join()
    assert seen[-1] == "3"
    assert sorted(seen) == ["1", "2", "3"]


def test_many_have_one_deadline() -> None:
    app, _, store = recorded_app()
    store.end("1", "SUCCESS", 1)
    with pytest.raises(ResultTimeout, match=r"1 of 2 tasks did not end within 0\.05 s"):
        app.wait([app.AsyncResult("1"), app.AsyncResult("2")], timeout=0.05)


def test_eager_and_ignored_results_mix_with_others() -> None:
    app, _, store = recorded_app()
    store.end("1", "SUCCESS", 1)
    task = app.task(name="a", ignore_result=True)(lambda: 7)
    assert app.wait([app.AsyncResult("1"), task.apply(), task.delay()], timeout=1) == [1, 7, None]


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "results",
    [{"serializer": "json"}, {"serializer": "msgpack"}, {"serializer": "yaml"},
     {"compression": "zlib", "compress_over": 1},
     {"serializer": "msgpack", "compression": "bzip2", "compress_over": 1}],
)  # fmt: skip
def test_a_record_is_read_as_it_was_written(results: dict[str, Any]) -> None:
    app = GreenQ(
        "shop",
        broker="memory://a",
        accept=["json", "msgpack", "yaml"],
        results={"url": "memory://a", **results},
    )
    store = DictStore(app)
    store.end("1", "SUCCESS", {"x": "y" * 100}, date_done="now")
    back = store.get(["1"], 1.0)["1"]
    assert (back.value, back.date_done) == ({"x": "y" * 100}, "now")
    compressed = store.payloads["1"].startswith(b"greenq/")
    assert compressed == ("compression" in results)


def test_a_record_is_celerys() -> None:
    _, _, store = recorded_app()
    text = (
        b'{"status": "SUCCESS", "result": 1, "traceback": null, "children": [], '
        b'"date_done": "2026-11-20T21:30:28.704035+00:00", "parent_id": "2", "task_id": "1"}'
    )
    back = store.decode(text)
    assert (back.id, back.state, back.value, back.extra) == ("1", "SUCCESS", 1, {"parent_id": "2"})


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{}", b'{"task_id": 1, "status": "x"}', b"greenq/nothing\nx", b"\xff"]
)
def test_a_record_that_is_none_is_refused(payload: bytes) -> None:
    _, _, store = recorded_app()
    with pytest.raises(GreenqError):
        store.decode(payload)


def test_an_exception_that_does_not_exist_here_has_a_stand_in() -> None:
    app, _, store = recorded_app()
    record = {"exc_type": "ShopClosed", "exc_message": ["at night", 5], "exc_module": "nowhere.errors"}
    with pytest.raises(RemoteError, match="ShopClosed") as caught:
        ended(app, store, "FAILURE", record).get()
    assert caught.value.exc_args == ("at night", 5)


def test_results_are_encoded_by_the_store() -> None:
    _, _, store = recorded_app()
    result = Result("1", "SUCCESS", 5)
    store.encode(result)
    assert result.value is None
    assert b'"SUCCESS"' in result.payload
