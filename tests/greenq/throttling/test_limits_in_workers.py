"""Embedded workers keep rates, slots and uniqueness, wherever these are remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ, Worker
from greenq.batches import Batch
from greenq.errors import AlreadyQueued, ConfigError, Ignore, InvalidOption, PartlySent, Reject
from greenq.message import Message
from pools import create
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a place that no test has used."""
    if request.param == "redis":
        return shared_redis().empty()
    return f"sqlite:///{tmp_path}/greenq.db" if request.param == "sqlite" else f"memory://{tmp_path.name}"


def make(url: str, **worker: Any) -> GreenQ:
    """An application with everything in one place."""
    return GreenQ("shop", broker=url, results=url, worker={"lease": "2s", **worker})


@contextmanager
def working(app: GreenQ, capacity: int = 8) -> Iterator[Worker]:
    """A worker of the application in this process."""
    with create("threads", capacity=capacity) as pool:
        worker = Worker(app, pool=pool)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop(timeout=10)


class Crowd:
    """Counts who is inside at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside: dict[Any, int] = {}
        self.most: dict[Any, int] = {}
        self.starts: list[float] = []

    def enter(self, key: Any) -> None:
        with self.lock:
            self.starts.append(time.monotonic())
            self.inside[key] = self.inside.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self.inside[key])

    def leave(self, key: Any) -> None:
        with self.lock:
            self.inside[key] -= 1


# ── concurrency ──────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_run_at_once_than_the_limit_of_their_key(url: str) -> None:
    app, crowd = make(url), Crowd()

    @app.task(concurrency_limit=2, concurrency_limit_by="account")
    def charge(number: int, account: str) -> int:
        crowd.enter(account)
        time.sleep(0.02)
        crowd.leave(account)
        return number

    with working(app), working(app):
        results = [charge.delay(number, "ab"[number % 2]) for number in range(30)]
        assert app.wait(results, timeout=PATIENCE) == list(range(30))
    assert crowd.most == {"a": 2, "b": 2}


def test_what_waits_for_a_slot_holds_up_nobody_else(url: str) -> None:
    app, gate = make(url), threading.Event()

    @app.task(concurrency_limit=1)
    def slow() -> bool:
        return gate.wait(PATIENCE)

    @app.task
    def quick() -> str:
        return "done"

    with working(app, capacity=2):
        waiting = [slow.delay() for _ in range(10)]
        assert quick.delay().get(timeout=PATIENCE) == "done"
        gate.set()
        assert all(app.wait(waiting, timeout=PATIENCE))


@pytest.mark.parametrize("acks_late", [True, False])
def test_a_slot_is_free_whatever_becomes_of_the_task(url: str, acks_late: bool) -> None:
    app = make(url)
    ends: dict[str, Callable[[], object]] = {}

    @app.task(concurrency_limit=1, acks_late=acks_late, max_retries=1, default_retry_delay=0)
    def end(how: str) -> object:
        return ends[how]()

    def throw(error: Exception) -> Callable[[], object]:
        def do() -> object:
            raise error

        return do

    ends["returns"] = lambda: 1
    ends["fails"] = throw(ValueError("no"))
    ends["ignores"] = throw(Ignore())
    ends["rejects"] = throw(Reject("no"))
    ends["retries"] = lambda: end.retry()
    ends["cannot be stored"] = lambda: object()
    with working(app):
        for how in ends:
            end.delay(how)
        assert end.delay("returns").get(timeout=PATIENCE) == 1


def test_a_long_task_keeps_its_slot_beyond_its_lease(url: str) -> None:
    app, crowd = make(url, lease="1s"), Crowd()

    @app.task(concurrency_limit=1)
    def long(seconds: float) -> None:
        crowd.enter("all")
        time.sleep(seconds)
        crowd.leave("all")

    with working(app):
        first = long.delay(3.0)
        until(lambda: crowd.inside, "the first task's start")
        second = long.delay(0.0)
        app.wait([first, second], timeout=PATIENCE)
    assert crowd.most == {"all": 1}


def test_calls_that_a_function_gives_no_key_have_no_limit(url: str) -> None:
    app, both = make(url), threading.Barrier(2)

    @app.task(concurrency_limit=1, concurrency_limit_by=lambda vip: None if vip else "others")
    def meet(vip: bool) -> int:
        return both.wait(PATIENCE)

    with working(app):
        assert sorted(app.wait([meet.delay(True), meet.delay(True)], timeout=PATIENCE)) == [0, 1]


def test_a_key_function_that_fails_lets_its_calls_share_one_limit(url: str) -> None:
    app, crowd = make(url), Crowd()

    @app.task(concurrency_limit=1, concurrency_limit_by=lambda number: 1 / 0)
    def work(number: int) -> None:
        crowd.enter("all")
        time.sleep(0.01)
        crowd.leave("all")

    with working(app):
        app.wait([work.delay(number) for number in range(4)], timeout=PATIENCE)
    assert crowd.most == {"all": 1}


def test_arguments_that_do_not_fit_fail_as_ever(url: str) -> None:
    app = make(url)

    @app.task(concurrency_limit=1, concurrency_limit_by="number", typing=False)
    def work(number: int) -> None: ...

    with working(app), pytest.raises(TypeError):
        work.delay(wrong=1).get(timeout=PATIENCE)


# ── rates ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rate_holds_over_workers(url: str) -> None:
    app, crowd = make(url), Crowd()

    @app.task(rate_limit="20/s")
    def call(number: int) -> int:
        crowd.enter("all")
        crowd.leave("all")
        return number

    with working(app), working(app):
        results = [call.delay(number) for number in range(30)]
        assert app.wait(results, timeout=PATIENCE) == list(range(30))
    # Counted as they are let in; what comes between that and their start is a busy machine's.
    assert max(crowd.starts) - min(crowd.starts) > 29 / 20 - 0.5


def test_a_rate_by_key_holds_for_each_key(url: str) -> None:
    app = make(url)

    @app.task(rate_limit="1/h", rate_limit_by=("host", "port"))
    def get(host: str, port: int = 80, path: str = "/") -> str:
        return host

    with working(app):
        first = [get.delay("a"), get.delay("b"), get.delay("a", 81)]
        assert app.wait(first, timeout=PATIENCE) == ["a", "b", "a"]
        late = get.delay("a", path="/other")
        until(lambda: app.broker.depth()["celery"].delayed == 1, "the second call is put off")
        assert not late.ready()


def test_what_waits_for_its_rate_is_neither_retried_nor_suspect(url: str) -> None:
    app = make(url)
    seen: list[tuple[int, int]] = []

    @app.task(rate_limit="5/s", bind=True)
    def call(self: Any) -> None:
        seen.append((self.request.retries, self.request.attempts))

    with working(app):
        app.wait([call.delay() for _ in range(5)], timeout=PATIENCE)
    assert seen == [(0, 0)] * 5


def test_what_expires_while_it_waits_is_not_run(url: str) -> None:
    app = make(url)

    @app.task(rate_limit="1/h")
    def call() -> None: ...

    with working(app):
        call.delay().get(timeout=PATIENCE)
        late = call.apply_async(expires=0.2)
        until(lambda: app.broker.depth()["celery"].delayed == 1, "the second call is put off")
        assert not late.ready()


# ── unique tasks ─────────────────────────────────────────────────────────────────────────────────────────


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


# ── paused queues ────────────────────────────────────────────────────────────────────────────────────────


def test_a_paused_queue_is_left_alone_until_it_is_resumed(url: str) -> None:
    app = make(url, queues=["celery", "mail"])

    @app.task
    def work(x: int) -> int:
        return x

    app.queues.pause("mail")
    assert app.queues.paused() == {"mail"}
    with working(app):
        waiting = work.apply_async((1,), queue="mail")
        assert work.delay(2).get(timeout=PATIENCE) == 2
        assert app.broker.depth()["mail"].ready == 1
        app.queues.resume("mail")
        assert waiting.get(timeout=PATIENCE) == 1


def test_workers_notice_that_all_their_queues_are_paused(url: str) -> None:
    app = make(url)

    @app.task
    def work() -> str:
        return "done"

    with working(app) as worker:
        assert work.delay().get(timeout=PATIENCE) == "done"
        app.queues.pause("celery")
        until(lambda: not worker._consumer.queues, "the pause is noticed")
        waiting = work.delay()
        assert app.broker.depth()["celery"].ready == 1
        app.queues.resume("celery")
        assert waiting.get(timeout=PATIENCE) == "done"


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────


def test_limits_without_a_place_for_them_are_refused_at_start() -> None:
    app = GreenQ("shop", broker="amqp://localhost", results="rpc://")

    @app.task(rate_limit="1/s")
    def work() -> None: ...

    with create("threads", capacity=1) as pool, pytest.raises(ConfigError, match=r"throttling\.url"):
        Worker(app, pool=pool)
    with pytest.raises(ConfigError, match=r"amqp broker.*throttling\.url"):
        app.queues.pause("mail")
    assert app.queues.paused() == frozenset()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate_limit": "100/w"}, "rate_limit must be a rate"),
        ({"rate_limit": 0}, "rate_limit must be a rate"),
        ({"rate_limit": "-1/s"}, "rate_limit must be a rate"),
        ({"rate_limit": True}, "rate_limit must be a rate"),
        ({"concurrency_limit": 0}, "concurrency_limit must be an integer"),
        ({"concurrency_limit": 2.5}, "concurrency_limit must be an integer"),
        ({"concurrency_limit": 1, "concurrency_limit_by": "y"}, "no argument 'y'"),
        ({"rate_limit": 1, "rate_limit_by": ["x", "y"]}, "no argument 'y'"),
        ({"unique": "y"}, "no argument 'y'"),
        ({"unique": 3}, "unique must be True, False"),
        ({"unique": True, "unique_for": 0}, "unique_for must be"),
        ({"unique": True, "unique_until": "later"}, "unique_until must be"),
        ({"unique": True, "on_duplicate": "drop"}, "on_duplicate must be"),
    ],
)
def test_a_wrong_option_is_told_where_the_task_is_declared(options: dict[str, Any], words: str) -> None:
    app = GreenQ("shop", broker="memory://wrong", results=None)
    with pytest.raises(InvalidOption, match=words):

        @app.task(**options)
        def work(x: int) -> None: ...


def test_options_of_a_call_that_make_no_sense_are_told() -> None:
    app = GreenQ("shop", broker="memory://calls", results=None)

    @app.task
    def plain(x: int) -> None: ...

    @app.task(unique=False)
    def perhaps(x: int) -> None: ...

    with pytest.raises(InvalidOption, match="declare it, if only as unique=False"):
        plain.apply_async((1,), unique=True)
    with pytest.raises(InvalidOption, match="makes sense with unique only"):
        perhaps.apply_async((1,), unique_for=3)


def test_calls_of_a_task_that_takes_many_at_once_have_their_own_limits() -> None:
    app = make("memory://batches")
    seen: list[list[str]] = []

    @app.task(
        batch=Batch(size=4, seconds=0.2), concurrency_limit=1, concurrency_limit_by="account", unique="what"
    )
    def charge(calls: list[Any]) -> list[None]:
        seen.append(sorted(call.kwargs["account"] for call in calls))
        return [None] * len(calls)

    for what, account in enumerate("aabb"):
        charge.apply_async(kwargs={"account": account, "what": what})
    with pytest.raises(AlreadyQueued):
        charge.apply_async(kwargs={"account": "c", "what": 0})
    with working(app):
        until(lambda: sum(map(len, seen)) == 4, "the end of all")
    assert all(len(set(accounts)) == len(accounts) for accounts in seen)
