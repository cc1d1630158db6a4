"""Tasks: how they are made, named and configured, and what they know while they run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenq.app import GreenQ
from greenq.errors import AppError, EncodeError, InvalidOption
from greenq.message import Message
from greenq.protocol import TaskCall, template
from greenq.request import Request, current
from greenq.task import AsyncTask, Task
from tests.greenq.recording import recorded_app


def running(task: Task[..., Any], **headers: Any) -> Request:
    """The request of a task that a worker runs."""
    fields = template(task.name, "gen1@here", None) | {"id": "me", "root_id": "root"} | headers
    message = Message("celery", fields, b"[]", "application/json", "utf-8", {"reply_to": "there"}, 4)
    call = TaskCall([1], {"y": 2}, {"callbacks": None, "chain": []}, fields, 1.0, 2.0, 30.0, 20.0)
    return Request(call, message, "greenq@here", 1)


# ── making ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_still_the_function() -> None:
    app, broker, _ = recorded_app()

    @app.task
    def add(x: int, y: int = 2) -> int:
        """Add two numbers."""
        return x + y

    assert add(1) == 3
    assert add.__doc__ == "Add two numbers."
    assert add.__name__ == "add"
    assert app.tasks[add.name] is add
    assert broker.sent == []
    assert repr(add) == f"<Task {__name__}.add>"


def test_a_task_is_named_by_module_and_function() -> None:
    app, _, _ = recorded_app("shop")

    def work() -> None: ...

    assert app.task(work).name == f"{__name__}.work"
    work.__module__ = "__main__"
    assert app.task(work).name == "shop.work"
    assert app.task(name="own.name")(work).name == "own.name"
    nameless, _, _ = recorded_app()
    nameless.main = None
    assert nameless.task(work).name == "__main__.work"


def test_a_bound_task_gets_itself() -> None:
    app, _, _ = recorded_app()

    @app.task(bind=True)
    def me(self: Task[..., Any], x: int) -> tuple[str, int]:
        return self.name, x

    assert me(5) == (me.name, 5)
    assert me.run(5) == (me.name, 5)


def test_an_async_task_gives_its_coroutine_when_called() -> None:
    app, _, _ = recorded_app()

    @app.task
    async def add(x: int, y: int) -> int:
        return x + y

    assert isinstance(add, AsyncTask)
    assert add.is_coroutine
    assert asyncio.run(add(1, 2)) == 3


def test_two_functions_cannot_have_one_name() -> None:
    app, _, _ = recorded_app()

    def one() -> None: ...
    def two() -> None: ...

    app.task(name="same")(one)
    app.task(name="same")(one)
    with pytest.raises(AppError, match=r"one.*test_task\.py:\d+.*two.*test_task\.py:\d+"):
        app.task(name="same")(two)


def test_what_is_no_function_is_refused() -> None:
    app, _, _ = recorded_app()
    with pytest.raises(InvalidOption, match="options by name"):
        app.task("name")  # type: ignore[call-overload]
    with pytest.raises(InvalidOption, match="base must be"):
        app.task(base=int)(print)  # type: ignore[arg-type]


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────


def test_options_come_from_task_base_class_and_configuration_in_this_order() -> None:
    app, _, _ = recorded_app(
        tasks={"max_retries": 9, "retry_delay": "7s", "time_limit": "60s", "acks_late": False, "priority": 2}
    )

    class Patient(Task[..., Any]):
        max_retries = 5
        time_limit = 120.0

    @app.task(base=Patient, time_limit=300)
    def own() -> None: ...

    options = own.options
    assert (options.time_limit, options.max_retries, options.default_retry_delay) == (300, 5, 7.0)
    assert (options.acks_late, options.priority, options.queue) == (False, 2, "celery")
    assert own.max_retries == 5
    assert isinstance(own, Patient)


def test_the_command_line_reaches_every_tasks_options() -> None:
    app, _, _ = recorded_app()
    app.close()
    plain = app.task(name="plain")(lambda: None)
    own = app.task(name="own", time_limit=5)(lambda: None)
    app.override({"tasks.time_limit": ("60", "--time-limit")})
    assert (plain.options.time_limit, own.options.time_limit) == (60.0, 5)


def test_settings_cannot_change_once_the_broker_is_open() -> None:
    app, _, _ = recorded_app()
    with pytest.raises(AppError, match="at import time"):
        app.override({})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_retry": 3}, "did you mean 'max_retries'"),
        ({"send_events": True}, "'send_events'.*not sent yet"),
        ({"on_failure": print}, "make a subclass"),
        ({"backend": "x"}, "'backend'"),
        ({"max_retries": -1}, "max_retries must be"),
        ({"max_retries": "3"}, "max_retries must be"),
        ({"default_retry_delay": None}, "default_retry_delay must be"),
        ({"autoretry_for": "ValueError"}, "exception class"),
        ({"autoretry_for": (ValueError, 5)}, "exception class"),
        ({"retry_backoff": "yes"}, "retry_backoff must be"),
        ({"acks_late": 1}, "True or False"),
        ({"reject_on_worker_lost": False}, "acks_late=False"),
        ({"priority": 11}, "0 to 9"),
        ({"queue": " a"}, "queue's name"),
        ({"time_limit": -3}, "above 0"),
        ({"time_limit": 3, "soft_time_limit": 5}, "must not be above"),
        ({"serializer": None}, "serializer must be"),
        ({"retry_kwargs": [1]}, "retry_kwargs must be"),
        ({"throws": 5}, "exception class"),
    ],
)
def test_a_wrong_option_of_a_task_is_refused_where_it_is_written(options: dict[str, Any], says: str) -> None:
    app, _, _ = recorded_app()
    with pytest.raises(InvalidOption, match=says) as caught:
        app.task(name="shop.buy", **options)(lambda: None)
    assert str(caught.value).startswith("task shop.buy: ")
    assert app.tasks == {}


def test_celerys_combined_acknowledgement_option_sets_both() -> None:
    app, _, _ = recorded_app()
    both = app.task(name="a", acks_on_failure_or_timeout=False)(lambda: None).options
    one = app.task(name="b", acks_on_timeout=False, reject_on_worker_lost=True)(lambda: None).options
    assert (both.acks_on_failure, both.acks_on_timeout) == (False, False)
    assert (one.acks_on_failure, one.acks_on_timeout) == (True, False)


def test_a_wrong_option_in_a_base_class_is_refused() -> None:
    with pytest.raises(InvalidOption, match="class Wrong: max_retries"):
        type("Wrong", (Task,), {"max_retries": "many"})


# ── the request ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_request_has_celerys_fields() -> None:
    app, _, _ = recorded_app()
    task = app.task(name="a")(lambda: None)
    request = running(task, retries=2, shadow="shown", group="g", group_index=3, trace="abc", parent_id="p")
    assert (request.id, request.task, request.root_id, request.parent_id) == ("me", "a", "root", "p")
    assert (request.args, request.kwargs, request.retries, request.shadow) == ([1], {"y": 2}, 2, "shown")
    assert (request.group, request.group_index, request.chain, request.callbacks) == ("g", 3, [], None)
    assert (request.errbacks, request.chord, request.reply_to) == (None, None, "there")
    assert (request.correlation_id, request.hostname, request.origin) == ("me", "greenq@here", "gen1@here")
    assert request.timelimit == (30.0, 20.0)
    assert request.headers == {"trace": "abc"}
    assert request.delivery_info == {
        "exchange": "", "routing_key": "celery", "priority": 4, "redelivered": True,
    }  # fmt: skip
    assert (request.is_eager, request.called_directly, request.children) == (False, False, [])
    assert (request.get("retries"), request.get("nothing", 7)) == (2, 7)
    assert request.result_extra() == {"group_id": "g", "parent_id": "p"}
    assert request.stamps == {}


def test_a_task_sees_its_own_request_only() -> None:
    app, _, _ = recorded_app()
    outer = app.task(name="outer")(lambda: None)

    @app.task(bind=True, name="inner")
    def inner(self: Task[..., Any]) -> Any:
        return self.request

    assert outer.request.called_directly
    request = running(outer)
    token = current.set(request)
    try:
        assert outer.request is request
        seen = inner()
        assert outer.request is request
    finally:
        current.reset(token)
    assert (seen.task, seen.called_directly, seen.id) == ("inner", True, None)


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_running_task_can_tell_how_far_it_is() -> None:
    app, _, store = recorded_app()
    task = app.task(name="a")(lambda: None)
    token = current.set(running(task))
    try:
        task.update_state(state="PROGRESS", meta={"done": 3})
        result = app.AsyncResult("me")
        assert (result.state, result.info, result.ready()) == ("PROGRESS", {"done": 3}, False)
        task.update_state(state="RETRY", meta=ValueError("again"))
        assert isinstance(result.info, ValueError)
        task.update_state(task_id="other", state="MINE")
        assert app.AsyncResult("other").state == "MINE"
        with pytest.raises(EncodeError):
            task.update_state(state="PROGRESS", meta=object())
    finally:
        current.reset(token)
    assert len(store.payloads) == 2


def test_outside_a_worker_there_is_no_state_to_store() -> None:
    app, _, store = recorded_app()
    task = app.task(name="a")(lambda: None)
    task.update_state(state="PROGRESS")
    silent = GreenQ("silent", broker="memory://a", results={"url": None})
    quiet = silent.task(name="a")(lambda: None)
    token = current.set(running(quiet))
    try:
        quiet.update_state(state="PROGRESS")
    finally:
        current.reset(token)
    assert store.payloads == {}
