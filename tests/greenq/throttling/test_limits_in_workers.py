"""Embedded workers keep rates and slots, wherever these are remembered, and leave paused queues alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ, Worker
from greenq.batches import Batch
from greenq.errors import AlreadyQueued, ConfigError, Ignore, InvalidOption, Reject
from pools import create
from tests.greenq.throttling.places import Crowd, make, working
from tests.waiting import PATIENCE, until

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


def test_a_long_task_keeps_its_slot_beyond_its_lease(tmp_path: Path) -> None:
    app, crowd = make(f"sqlite:///{tmp_path}/greenq.db", lease="4s"), Crowd()

    @app.task(concurrency_limit=1)
    def long(seconds: float) -> None:
        crowd.enter("all")
        time.sleep(seconds)
        crowd.leave("all")

    with working(app):
        first = long.delay(6.0)
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
