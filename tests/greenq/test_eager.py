"""Calls that run where they are made."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest

from greenq.asyncresult import AsyncResult
from greenq.call import Call
from greenq.eagerresult import EagerResult
from greenq.errors import EncodeError, Ignore, InvalidOption, Reject, TaskRevoked
from greenq.task import Task
from tests.greenq.recording import recorded_app


class Passing(Exception):
    """A failure that may pass."""


def test_apply_runs_it_here() -> None:
    app, broker, _ = recorded_app()

    @app.task
    def add(x: int, y: int = 1) -> int:
        return x + y

    result = add.apply((1,), {"y": 5})
    assert (result.get(), result.state, result.ready(), result.successful()) == (6, "SUCCESS", True, True)
    assert (result.traceback, result.date_done, result.children) == (None, None, [])
    assert broker.sent == []


def test_an_async_task_runs_too() -> None:
    app, _, _ = recorded_app()

    @app.task
    async def slow(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    assert slow.apply((4,)).get() == 8


def test_a_failure_is_kept_or_thrown() -> None:
    app, _, _ = recorded_app()

    @app.task
    def fail() -> None:
        raise Passing("no")

    result = fail.apply()
    assert (result.state, result.failed()) == ("FAILURE", True)
    assert result.traceback is not None
    assert "Passing: no" in result.traceback
    with pytest.raises(Passing):
        result.get()
    assert isinstance(result.get(propagate=False), Passing)
    with pytest.raises(Passing):
        fail.apply(throw=True)


def test_retries_run_at_once_with_their_arguments() -> None:
    app, broker, _ = recorded_app()
    seen: list[Any] = []

    @app.task(bind=True, max_retries=5)
    def again(self: Task[..., Any], x: int) -> int:
        seen.append((self.request.retries, self.request.is_eager, self.request.id, x))
        if self.request.retries < 3:
            raise self.retry(args=(x + 1,), countdown=1000)
        return x

    result = again.apply((1,), task_id="me")
    assert (result.get(), result.id) == (4, "me")
    assert seen == [(0, True, "me", 1), (1, True, "me", 2), (2, True, "me", 3), (3, True, "me", 4)]
    assert broker.sent == []


def test_autoretry_gives_up_with_the_failure() -> None:
    app, _, _ = recorded_app()
    runs = []

    @app.task(autoretry_for=(Passing,), max_retries=2, retry_backoff=True)
    def fail() -> None:
        runs.append(1)
        raise Passing

    assert fail.apply().state == "FAILURE"
    assert len(runs) == 3


@pytest.mark.parametrize(("signal", "state"), [(Ignore(), "IGNORED"), (Reject("x"), "REJECTED")])
def test_signals_end_it_as_they_say(signal: Exception, state: str) -> None:
    app, _, _ = recorded_app()

    @app.task
    def end() -> None:
        raise signal

    assert end.apply().state == state


def test_an_eager_result_can_be_revoked_as_celerys() -> None:
    app, _, _ = recorded_app()
    result = app.task(name="a")(lambda: 5).apply()
    result.revoke()
    with pytest.raises(TaskRevoked):
        result.get()
    result.forget()


def test_options_are_checked_here_too() -> None:
    app, _, _ = recorded_app()
    with pytest.raises(InvalidOption):
        app.task(name="a")(lambda: 5).apply(countdwn=5)  # type: ignore[call-arg]


# ── tasks.eager ──────────────────────────────────────────────────────────────────────────────────────────


def test_results_stand_in_the_order_of_the_calls_also_where_some_run_here_and_others_are_sent() -> None:
    app, broker, _ = recorded_app(tasks={"eager": True})

    @app.task
    def double(n: int) -> int:
        return 2 * n

    elsewhere = Call[int]("else.where")
    results = app.send_many([elsewhere, double.call(1), elsewhere, double.call(2)])
    assert [type(result) for result in results] == [AsyncResult, EagerResult, AsyncResult, EagerResult]
    assert [result.get() for result in results[1::2]] == [2, 4]
    assert [message.headers["id"] for message in broker.sent] == [result.id for result in results[::2]]


def test_an_eager_application_runs_what_it_would_send() -> None:
    app, broker, _ = recorded_app(tasks={"eager": True})
    seen: list[Any] = []

    @app.task
    def keep(x: Any) -> Any:
        seen.append(x)
        return x

    assert keep.delay((1, date(2026, 1, 2))).get() == [1, date(2026, 1, 2)]
    assert keep.apply_async(("a",), queue="x", task_id="me").id == "me"
    assert [r.get() for r in app.send_many([keep.call(1), keep.call(2)])] == [1, 2]
    with pytest.raises(EncodeError):
        keep.delay(object())
    assert len(seen) == 4
    assert broker.sent == []


def test_waiting_inside_a_task_is_refused_there_as_in_a_worker() -> None:
    app, _, _ = recorded_app(tasks={"eager": True})

    @app.task
    def inner() -> int:
        return 1

    @app.task
    def outer() -> int:
        return inner.delay().get()

    with pytest.raises(RuntimeError, match="must not wait"):
        outer.delay().get()
    assert outer.apply().get() == 1


def test_a_child_knows_its_eager_parent() -> None:
    app, _, _ = recorded_app(tasks={"eager": True})
    seen: dict[str, Any] = {}

    @app.task(bind=True)
    def inner(self: Task[..., Any]) -> None:
        seen.update(root=self.request.root_id, parent=self.request.parent_id)

    @app.task
    def outer() -> None:
        inner.delay()

    outer.apply(task_id="top")
    assert seen == {"root": "top", "parent": "top"}
