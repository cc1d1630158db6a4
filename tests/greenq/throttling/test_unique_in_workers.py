"""One of the same calls is there at a time, and its key is free again however it ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from greenq.errors import AlreadyQueued, Ignore, InvalidOption, PartlySent, Reject
from greenq.message import Message
from tests.greenq.throttling.places import make, working
from tests.waiting import PATIENCE, until


def test_a_unique_call_is_refused_until_the_first_one_has_ended(url: str) -> None:
    app, gate = make(url), threading.Event()

    @app.task(unique=True)
    def build(what: str, how: str = "well") -> str:
        gate.wait(PATIENCE)
        return what

    first = build.delay("house")
    for again in (lambda: build.delay("house"), lambda: build.delay(how="well", what="house")):
        with pytest.raises(AlreadyQueued, match=first.id) as caught:
            again()
        assert caught.value.task_id == first.id
    other = build.delay("shed")
    with working(app):
        until(lambda: app.broker.depth()["celery"].ready == 0, "the start")
        with pytest.raises(AlreadyQueued):
            build.delay("house")
        gate.set()
        assert app.wait([first, other], timeout=PATIENCE) == ["house", "shed"]
        assert build.delay("house").get(timeout=PATIENCE) == "house"


def test_a_duplicate_gets_the_first_ones_result_if_it_wants(url: str) -> None:
    app = make(url)

    @app.task(unique="what", on_duplicate="return")
    def build(what: str, how: str) -> str:
        return how

    first, second = build.delay("house", "well"), build.delay("house", "badly")
    assert first.id == second.id
    assert app.broker.depth()["celery"].ready == 1
    with working(app):
        assert second.get(timeout=PATIENCE) == "well"


def test_a_call_unique_until_its_start_may_be_queued_again_while_it_runs(url: str) -> None:
    app, gate = make(url), threading.Event()

    @app.task(unique=True, unique_until="start")
    def build() -> bool:
        return gate.wait(PATIENCE)

    def queued() -> bool:
        try:
            results.append(build.delay())
        except AlreadyQueued:
            return False
        return True

    results = [build.delay()]
    assert not queued()
    with working(app):
        until(queued, "the start of the first")
        gate.set()
        assert all(app.wait(results, timeout=PATIENCE))


@pytest.mark.parametrize("acks_late", [True, False])
def test_a_key_is_free_whatever_becomes_of_its_task(url: str, acks_late: bool) -> None:
    app = make(url)
    tries: list[int] = []

    @app.task(unique="how", acks_late=acks_late, max_retries=1, default_retry_delay=0, bind=True)
    def end(self: Any, how: str) -> object:
        if how == "fails":
            raise ValueError("no")
        if how == "ignores":
            raise Ignore
        if how == "rejects":
            raise Reject("no")
        if how == "retries":
            tries.append(self.request.retries)
            self.retry()
        return object() if how == "cannot be stored" else None

    def free(how: str) -> bool:
        try:
            end.delay(how)
        except AlreadyQueued:
            return False
        return True

    hows = ["returns", "fails", "ignores", "rejects", "retries", "cannot be stored"]
    for how in hows:
        end.delay(how)
    late = end.apply_async(("late",), expires=0.001)
    with working(app):
        for how in hows:
            until(lambda how=how: free(how), f"the key is free again after: {how}")
        until(lambda: free("late"), "the key is free again after it expired")
    assert late.state == "REVOKED"
    assert tries[:2] == [0, 1]


def test_a_retry_keeps_the_key(url: str) -> None:
    app = make(url)

    @app.task(unique=True, bind=True, default_retry_delay=3600)
    def work(self: Any) -> None:
        self.retry()

    with working(app):
        first = work.delay()
        until(lambda: first.state == "RETRY", "the retry")
        with pytest.raises(AlreadyQueued):
            work.delay()


def test_a_key_is_free_after_its_time(url: str) -> None:
    app = make(url)

    @app.task(unique=True, unique_for=0.2)
    def work() -> None: ...

    work.delay()
    until(lambda: not _refused(work), "the end of the key's time")


def test_the_key_of_a_task_whose_end_is_recorded_is_taken_over(url: str) -> None:
    app = make(url)

    @app.task(unique=True)
    def work() -> None: ...

    first = work.delay()
    other = make(url)  # knows no unique task: it does as one that died before it gave the key back

    @other.task(name=work.name)
    def same() -> None: ...

    with working(other):
        first.get(timeout=PATIENCE)
    assert work.delay().id != first.id


def test_a_call_may_say_itself_that_it_is_unique(url: str) -> None:
    app = make(url)

    @app.task(unique=False)
    def work(x: int) -> int:
        return x

    work.delay(1)
    first = work.apply_async((1,), unique=True)
    work.delay(1)
    with pytest.raises(AlreadyQueued):
        work.apply_async((1,), unique=True)
    assert work.apply_async((1,), unique="x", on_duplicate="return").id != first.id
    with working(app):
        until(lambda: not _refused(work, 1, unique=True), "the key is free again")


def test_a_task_that_is_known_by_name_only_may_be_unique(url: str) -> None:
    app = make(url)
    first = app.send_task("elsewhere.work", kwargs={"x": 1}, unique="x")
    with pytest.raises(AlreadyQueued, match=first.id):
        app.send_task("elsewhere.work", kwargs={"x": 1, "y": 2}, unique="x")
    with pytest.raises(InvalidOption, match="by name"):
        app.send_task("elsewhere.work", [1], unique="x")


def test_of_many_calls_the_duplicates_are_told(url: str) -> None:
    app = make(url)

    @app.task(unique=True)
    def work(x: int) -> int:
        return x

    with pytest.raises(PartlySent) as caught:
        app.send_many(work.call(number % 3) for number in range(6))
    assert len(caught.value.sent) == 3
    assert [type(error) for _, error in caught.value.failed] == [AlreadyQueued] * 3
    assert app.broker.depth()["celery"].ready == 3


def test_of_many_calls_the_duplicates_get_the_first_ones_results(url: str) -> None:
    app = make(url)

    @app.task(unique=True, on_duplicate="return")
    def work(x: int) -> int:
        return x

    results = app.send_many(work.call(number % 3) for number in range(6))
    assert [result.id for result in results[:3]] == [result.id for result in results[3:]]


def _refused(task: Any, *args: Any, **options: Any) -> bool:
    try:
        task.apply_async(args, **options)
    except AlreadyQueued:
        return True
    return False


HOSTILE: list[dict[str, Any]] = [
    {"id": ["a"]}, {"id": None}, {"id": 5}, {"id": "a\x00"}, {"id": "\ud800"},
    {"greenq_unique": 5}, {"greenq_unique": "nothing"}, {"greenq_unique": "end:"},
    {"greenq_unique": "start:\ud800"}, {"greenq_unique": "end:a\x00"},
    {"greenq_unique": "end:" + "k" * 10**6}, {"expires": "never"}, {"eta": "soon"},
]  # fmt: skip


def test_whatever_a_message_says_it_holds_the_worker_goes_on(url: str) -> None:
    app = make(url)

    @app.task(unique=True, concurrency_limit=1)
    def work(x: int) -> int:
        return x

    def headers(number: int, odd: dict[str, Any]) -> dict[str, Any]:
        return {"id": f"odd{number}", "task": work.name, "retries": 0, "eta": None, **odd}

    def message(number: int, odd: dict[str, Any]) -> Message:
        return Message("celery", headers(number, odd), b"[[1], {}, {}]", "application/json", "utf-8")

    app.broker.publish([message(number, odd) for number, odd in enumerate(HOSTILE)], PATIENCE)
    with working(app):
        assert work.delay(2).get(timeout=PATIENCE) == 2
        until(lambda: not _refused(work, 2), "the key is free again")
        until(
            lambda: app.broker.depth()["celery"].ready + app.broker.depth()["celery"].leased == 0,
            "all are over",
        )


def test_a_call_that_its_task_gives_back_keeps_its_key(url: str) -> None:
    app, refused, gate = make(url), threading.Event(), threading.Event()

    @app.task(unique=True, bind=True)
    def build(self: Any) -> str:
        if not self.request.delivery_info["redelivered"]:
            raise Reject("not yet", requeue=True)
        refused.set()
        assert gate.wait(PATIENCE)
        return "built"

    with working(app):
        first = build.delay()
        assert refused.wait(PATIENCE)
        with pytest.raises(AlreadyQueued, match=first.id):
            build.delay()
        gate.set()
        assert first.get(timeout=PATIENCE) == "built"
        second: list[Any] = []

        def free() -> bool:
            try:
                second.append(build.delay())
            except AlreadyQueued:
                return False
            return True

        until(free, "the key is free", PATIENCE)
        assert second[0].get(timeout=PATIENCE) == "built"
