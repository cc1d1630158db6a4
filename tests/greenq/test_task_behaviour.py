"""Retries by judgement, snoozes, steps, hooks and aborts, where no worker process is needed."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from greenq import GreenQ, Request, ResultTimeout, Retry, Snooze, Task
from greenq.contrib.abortable import ABORTED, AbortableAsyncResult, AbortableTask
from greenq.errors import InvalidOption, Reject, ResultStoreError
from greenq.protocol import EMBED, HEADERS, TaskCall
from greenq.steps import run_step
from greenq.testing.app import in_memory, working
from tests.waiting import PATIENCE, until


@pytest.fixture
def app() -> Iterator[GreenQ]:
    app = GreenQ("shop", broker="memory://behaviour", results="memory://behaviour")
    yield app
    app.close()


class Weather(Exception):
    def __init__(self, wind: int) -> None:
        super().__init__(wind)
        self.wind = wind


# ── retry_if ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_predicate_judges_what_autoretry_for_means(app: GreenQ) -> None:
    asked: list[BaseException] = []

    def calm(error: Weather) -> bool:
        asked.append(error)
        return error.wind < 5

    @app.task(bind=True, autoretry_for=(Weather,), retry_if=calm, default_retry_delay=0)
    def sail(self: Any, *winds: int) -> int:
        if self.request.retries >= len(winds):
            raise KeyError("no wind")
        raise Weather(winds[self.request.retries])

    assert isinstance(sail.apply((1, 2, 8)).result, Weather)
    assert [error.wind for error in asked] == [1, 2, 8]  # type: ignore[attr-defined]
    assert isinstance(sail.apply(()).result, KeyError)
    assert len(asked) == 3


def test_without_autoretry_for_it_judges_every_exception(app: GreenQ) -> None:
    @app.task(bind=True, retry_if=lambda error: isinstance(error, OSError), default_retry_delay=0)
    def read(self: Any) -> int:
        if self.request.retries < 2:
            raise OSError("busy")
        return int(self.request.retries)

    assert read.apply().get() == 2


def test_a_predicate_that_fails_is_logged_and_the_task_fails_with_its_own(
    app: GreenQ, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(retry_if=lambda error: error.status > 500)
    def read() -> None:
        raise OSError("busy")

    with caplog.at_level(logging.ERROR):
        assert isinstance(read.apply().result, OSError)
    assert "retry_if of" in caplog.text


def test_a_predicate_that_is_none_is_refused(app: GreenQ) -> None:
    with pytest.raises(InvalidOption, match="retry_if must be a function"):
        app.task(retry_if=True)(len)  # type: ignore[arg-type]


def test_a_class_of_tasks_may_judge_for_all_of_them(app: GreenQ) -> None:
    class Patient(Task[..., Any]):
        default_retry_delay = 0

        def retry_if(error: BaseException) -> bool:  # type: ignore[misc]
            return isinstance(error, Weather)

    @app.task(base=Patient, bind=True)
    def sail(self: Any) -> int:
        if self.request.retries == 0:
            raise Weather(1)
        return 1

    assert sail.apply().get() == 1


# ── retry without raising ────────────────────────────────────────────────────────────────────────────────


def test_a_retry_that_is_not_thrown_is_sent_at_once_and_only_once(app: GreenQ) -> None:
    runs: list[int] = []

    @app.task(bind=True)
    def goes_on(self: Any) -> str:
        runs.append(self.request.retries)
        if self.request.retries == 0:
            retry = self.retry(throw=False, countdown=0)
            assert isinstance(retry, Retry)
            if self.request.args:
                raise retry
            return "went on"
        return "again"

    with working(app):
        assert goes_on.delay().get(timeout=PATIENCE) == "went on"
        until(lambda: len(runs) == 2, what="the second run")
        runs.clear()
    assert isinstance(goes_on.apply().result, str)


def test_a_retry_that_cannot_be_sent_rejects_the_task(app: GreenQ, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def goes_on(self: Any) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(app.broker, "publish", lambda *args: [InvalidOption("the queue is full")])
            try:
                self.retry(throw=False, countdown=0)
            except Reject as reject:
                seen.append(reject)
                raise

    with working(app):
        goes_on.delay()
        until(lambda: seen, what="the refusal")
    assert "the queue is full" in str(seen[0].reason)


# ── snooze ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_snooze_says_when() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    assert Snooze(eta=later).due == later.timestamp()
    assert Snooze(eta=later.replace(tzinfo=None)).due == later.timestamp()
    assert 0 < Snooze(60).due - datetime.now(UTC).timestamp() < 61
    assert str(Snooze(60)) == "snoozes for 60 s"
    again = pickle.loads(pickle.dumps(Snooze(eta=later)))
    assert (again.countdown, again.eta) == (None, later)


@pytest.mark.parametrize(
    "given", [{}, {"countdown": 1, "eta": datetime.now(UTC)}, {"countdown": float("nan")}]
)
def test_a_snooze_that_says_nothing_or_too_much_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="Snooze"):
        Snooze(**given)


def test_a_task_that_runs_where_it_is_called_ends_with_its_snooze(app: GreenQ) -> None:
    @app.task
    def sleepy() -> None:
        raise Snooze(5)

    ended = sleepy.apply()
    assert ended.state == "SNOOZED"
    assert isinstance(ended.result, Snooze)


def test_a_task_may_snooze_until_it_expires(app: GreenQ) -> None:
    @app.task
    def sleepy() -> None:
        raise Snooze(0.05)

    with working(app):
        result = sleepy.apply_async(expires=0.3)
        assert type(result.get(timeout=PATIENCE, propagate=False)).__name__ == "TaskRevoked"


# ── steps ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("store", [None, SimpleNamespace(reply_to="a queue")])
def test_steps_are_refused_where_no_later_run_could_find_them(store: Any) -> None:
    request = Request(TaskCall((), {}, EMBED, HEADERS | {"task": "shop.work", "id": "1"}))
    app: Any = SimpleNamespace(results=store)
    with pytest.raises(ResultStoreError, match=r"shop\.work has steps, but a later run could not find them"):
        run_step(app, request, "one", int, (), {})


@pytest.mark.parametrize("name", ["", 5, "x" * 81, "a\nb", None])
def test_a_step_needs_a_name(app: GreenQ, name: Any) -> None:
    @app.task(bind=True)
    def work(self: Any) -> Any:
        return self.step(name, int)

    with pytest.raises(InvalidOption, match="a step's name"):
        work.apply().get()


def test_a_step_that_raises_is_done_again_and_one_that_ran_is_not(app: GreenQ) -> None:
    done: list[str] = []

    def fragile(name: str) -> str:
        done.append(name)
        if len(done) < 3:
            raise OSError("busy")
        return name

    @app.task(bind=True, retry_if=lambda error: True, default_retry_delay=0)
    def work(self: Any) -> list[Any]:
        return [
            self.step("a", fragile, "a"),
            self.step("b", fragile, name="b"),
            self.step("none", lambda: None),
        ]

    with working(app):
        assert work.delay().get(timeout=PATIENCE) == ["a", "b", None]
    assert done == ["a", "a", "a", "b"]
    done.clear()
    assert work.apply().get() == ["a", "b", None]
    assert work(*()) == ["a", "b", None], "called like a function, a step is a call"


def test_every_run_sees_the_value_as_the_serializer_gives_it_back(app: GreenQ) -> None:
    @app.task(bind=True)
    def work(self: Any) -> str:
        return repr([self.step("pair", lambda: (1, 2)) for _ in range(2)])

    with working(app):
        assert work.delay().get(timeout=PATIENCE) == "[[1, 2], [1, 2]]"


def test_a_value_that_cannot_be_stored_fails_the_task(app: GreenQ) -> None:
    @app.task(bind=True)
    def work(self: Any) -> None:
        self.step("odd", object)

    with working(app), pytest.raises(Exception, match="object"):
        work.delay().get(timeout=PATIENCE)


# ── hooks ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hook_that_fails_reaches_whoever_runs_the_task_here(app: GreenQ) -> None:
    class Clumsy(Task[..., Any]):
        def on_success(self, *args: Any) -> None:
            raise RuntimeError("in the hook")

    task = app.task(base=Clumsy, name="task")(lambda: 1)
    with pytest.raises(RuntimeError, match="in the hook"):
        task.apply()
    with working(app):
        assert task.delay().get(timeout=PATIENCE) == 1


def test_hooks_are_inherited_and_a_class_without_them_adds_nothing(app: GreenQ) -> None:
    told: list[str] = []

    class Base(Task[..., Any]):
        def after_return(self, *args: Any) -> None:
            told.append("base")

    class Derived(Base):
        max_retries = 7

    class Both(Base):
        def after_return(self, *args: Any) -> None:
            super().after_return(*args)
            told.append("both")

    for kind in (Derived, Both):
        app.task(base=kind, name=kind.__name__)(lambda: None).apply()
    assert told == ["base", "base", "both"]


def test_a_recursive_task_of_a_class_with_its_own_call_stays_itself(app: GreenQ) -> None:
    calls: list[bool] = []

    class Calling(Task[..., Any]):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            calls.append(self.request.called_directly)
            return super().__call__(*args, **kwargs)

    @app.task(base=Calling, bind=True)
    def factorial(self: Any, n: int) -> Any:
        return [self.request.called_directly, n] if n == 0 else self(n - 1)

    assert factorial.apply((2,)).get() == [True, 0]
    assert calls[0] is False


def test_the_name_of_a_header_is_a_field_of_the_request(app: GreenQ) -> None:
    @app.task(bind=True)
    def work(self: Any) -> list[Any]:
        return [self.request.tenant, self.request.get("nothing"), hasattr(self.request, "nothing")]

    with working(app):
        assert work.apply_async(headers={"tenant": "ann"}).get(timeout=PATIENCE) == ["ann", None, False]
    bare = Request.__new__(Request)
    with pytest.raises(AttributeError):
        _ = bare.fields


# ── aborting ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_abort_is_seen_and_progress_does_not_undo_it(app: GreenQ) -> None:
    seen: list[Any] = []

    @app.task(bind=True, base=AbortableTask)
    def sweep(self: Any) -> str:
        deadline = time.monotonic() + PATIENCE
        while not self.is_aborted():
            assert time.monotonic() < deadline, "never asked to stop"
            self.progress(1, 2)
        self.progress(2, 2)
        seen.append(self.is_aborted())
        return "stopped"

    with working(app):
        sent = sweep.delay()
        assert isinstance(sent, AbortableAsyncResult)
        sent.abort()
        assert sent.get(timeout=PATIENCE) == "stopped"
        sent.abort()
        assert (sent.state, sent.is_aborted(), seen) == ("SUCCESS", False, [True])
        other = sweep.apply_async(task_id="other")
        assert isinstance(other, AbortableAsyncResult)
        other.abort()
    assert sweep.is_aborted() is False


def test_an_abort_that_no_worker_could_see_is_refused() -> None:
    app = GreenQ("shop", broker="memory://abort", results=None)
    with pytest.raises(ResultStoreError, match="no results are kept"):
        AbortableAsyncResult[None]("1", app).abort()
    app.close()


def test_an_abort_before_the_start_waits_for_the_task(app: GreenQ) -> None:
    @app.task(bind=True, base=AbortableTask)
    def sweep(self: Any) -> bool:
        return self.is_aborted()  # type: ignore[no-any-return]

    with in_memory(app):
        sent = sweep.delay()
        sent.abort()
        with pytest.raises(ResultTimeout):
            sent.get(timeout=0.01)
        assert (sent.state, sent.is_aborted()) == (ABORTED, True)
        sent.forget()
        assert not sent.is_aborted()
