"""Hooks, signals, snoozes and steps under every pool: who is told, in which order, and what runs once."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from greenq.message import Depth
from tests.greenq.worker.conftest import HERE, Shop
from tests.greenq.worker.test_every_pool import NO_LIMITS, POOLS
from tests.waiting import PATIENCE, until

ROOT = HERE.parents[2]
ISOLATED = ("prefork",)


@pytest.fixture
def behaving(shop: Shop) -> Callable[..., Shop]:
    """Start the application under a pool."""

    def start(pool: str) -> Shop:
        env = {"BEHAVING_LEDGER": shop.ledger, "PYTHONPATH": f"{HERE}:{ROOT}"}
        if pool in NO_LIMITS:
            env["SHOP_NO_LIMITS"] = "1"
        shop.worker("-A", "behaving", *POOLS[pool], env=env)
        return shop

    return start


def told(shop: Shop, who: str) -> list[str]:
    return [line.removeprefix(f"{who} ") for line in shop.lines() if line.startswith(f"{who} ")]


def run_of(*body: str, state: str = "SUCCESS") -> list[str]:
    """What is told of one run."""
    return ["task_received", "task_prerun", "before_start True dark", *body, f"task_postrun {state}"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_tasks_class_and_receivers_are_told_how_it_goes(behaving: Callable[..., Shop], pool: str) -> None:
    shop = behaving(pool)
    send = shop.app.send_task
    failed = ["on_failure ValueError True", "task_internal_error", "task_failure", "after_return FAILURE"]
    expected = {
        "well": run_of("on_success 7 True", "after_return SUCCESS"),
        "badly": run_of(*failed, state="FAILURE"),
        "called": run_of("__call__ False", "on_success [7, False, 'dark'] True", "after_return SUCCESS"),
        "awaited": run_of("__call__ False", "on_success 7 True", "after_return SUCCESS"),
        "retried": [
            *run_of("on_retry KeyError", state="RETRY"),
            *run_of("on_success in the end True", "after_return SUCCESS"),
        ],
        "unstorable": run_of(
            "on_failure EncodeError True", "task_internal_error", "task_failure", "after_return FAILURE",
            state="FAILURE",
        ),
    }  # fmt: skip
    if pool not in NO_LIMITS:
        expected["hard"] = run_of(
            "on_failure TimeLimitExceeded True", "task_internal_error", "task_failure",
            "after_return FAILURE", state="FAILURE",
        )  # fmt: skip
    given = ("well", "called", "awaited")
    sent = {name: send(f"behaving.{name}", (7,) if name in given else ()) for name in expected}
    for name, lines in expected.items():
        sent[name].get(timeout=PATIENCE, propagate=False)
        until(lambda: len(told(shop, sent[name].id)) >= len(lines), what=name)  # noqa: B023
        assert told(shop, sent[name].id) == lines
    late = send("behaving.well", (1,), expires=-5)
    nowhere = send("behaving.nowhere")
    for result in (late, nowhere):
        result.get(timeout=PATIENCE, propagate=False)
    assert told(shop, late.id) == ["task_received", "task_revoked True"]
    assert told(shop, nowhere.id) == ["task_unknown behaving.nowhere"]
    until(lambda: shop.depth().leased == 0, what="everything settled")


@pytest.mark.parametrize("pool", ["gevent", "prefork"])
def test_receivers_are_told_of_the_workers_life(behaving: Callable[..., Shop], pool: str) -> None:
    shop = behaving(pool)
    (worker,) = shop.workers
    shop.app.send_task("behaving.well", (1,)).get(timeout=PATIENCE)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    names = ("celeryd_", "worker_")
    events = [line.split(" ", 1)[1] for line in shop.lines() if line.split()[1].startswith(names)]
    first, last = ["celeryd_init", "celeryd_after_setup", "worker_init"], "worker_shutdown"
    if pool in ISOLATED:
        assert events.index("worker_process_init") < events.index("worker_shutting_down SIGTERM Warm")
        assert events.count("worker_process_shutdown") == 1
        events = [event for event in events if "_process_" not in event]
        assert events == [*first, "worker_ready", "worker_shutting_down SIGTERM Warm", last]
    else:
        assert events == [
            *first, "worker_process_init", "worker_ready", "worker_shutting_down SIGTERM Warm",
            "worker_process_shutdown", last,
        ]  # fmt: skip
    assert len({line.split()[0] for line in shop.lines() if "worker_ready" in line}) == 1


@pytest.mark.parametrize("pool", ["gevent", "prefork", "asyncio"])
def test_a_snooze_spends_no_retry_and_a_step_is_done_once(behaving: Callable[..., Shop], pool: str) -> None:
    shop = behaving(pool)
    snoozing, early = (
        shop.app.send_task("behaving.snoozing", (3,)),
        shop.app.send_task("behaving.snoozing_early"),
    )
    stepping, in_async = (
        shop.app.send_task("behaving.stepping", ("retry",)),
        shop.app.send_task("behaving.stepping_async"),
    )
    assert snoozing.get(timeout=PATIENCE) == [None, 3, 0]
    assert early.get(timeout=PATIENCE) == 2
    assert stepping.get(timeout=PATIENCE) == [["first", 1], ["second", 1], ["first", 1]]
    assert in_async.get(timeout=PATIENCE) == [2, 2]
    assert told(shop, snoozing.id).count("stepped") == 1
    assert told(shop, snoozing.id).count("task_postrun SNOOZED") == 3
    steps = [line for line in told(shop, stepping.id) if line.startswith("step")]
    assert steps == ["step first", "step second"]
    assert [line for line in told(shop, in_async.id) if line.startswith("step")] == ["step async"]
    until(lambda: shop.depth() == Depth(), what="nothing is left")


@pytest.mark.parametrize("pool", ["gevent", "prefork"])
def test_a_step_survives_the_death_of_its_process(behaving: Callable[..., Shop], pool: str) -> None:
    shop = behaving(pool)
    stepping = shop.app.send_task("behaving.stepping", ("die",))
    if pool in ISOLATED:
        # A child that dies is its task's end, and the class is told.
        assert stepping.get(timeout=PATIENCE, propagate=False) is not None
        lost = shop.app.send_task("behaving.die")
        assert type(lost.get(timeout=PATIENCE, propagate=False)).__name__ == "WorkerLost"
        until(lambda: "task_postrun FAILURE" in told(shop, lost.id), what="told of the loss")
        assert "on_failure WorkerLost True" in told(shop, lost.id)
        return
    assert stepping.get(timeout=PATIENCE) == [["first", 1], ["second", 1], ["first", 1]]
    steps = [line for line in told(shop, stepping.id) if line.startswith("step")]
    assert steps == ["step first", "step second"]
