"""What is fetched beyond what can start: much while tasks are short, nothing while they are long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from greenq.message import Delivery
from greenq.worker import ahead
from greenq.worker.ahead import LONGEST, MOST, PER_SLOT, Ahead
from greenq.worker.runs import Run
from pools.base import Call
from tests.greenq.worker.conftest import Shop
from tests.waiting import until

SHORT, LONG = 0.00005, 0.1
"""Seconds that tasks take; the first by far less than what is short, as machines are busy."""


class Clock:
    """Time passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(ahead.time, "monotonic", lambda: self.now)


class Slots:
    """What of a pool is asked."""

    def __init__(self, capacity: int = 1) -> None:
        self.capacity = capacity
        self.busy = 0
        self.lined_up = 0
        self.waiting: list[Call] = []

    def line_up(self, calls: int) -> None:
        self.lined_up = calls

    def wait_free(self, timeout: float) -> int:
        return self.capacity + self.lined_up - self.busy

    def calls(self) -> list[Call]:
        return list(self.waiting)

    def withdraw(self, call: Call) -> bool:
        self.waiting.remove(call)
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def returned() -> list[Any]:
    """The numbers of those that were given back."""
    return []


@pytest.fixture
def make(returned: list[Any]) -> Callable[..., Ahead]:
    def made(slots: Any, prefetch: int | None = None) -> Ahead:
        return Ahead(slots, prefetch, lambda delivery: returned.append(delivery.token), print)

    return made


def runs(count: int) -> list[Run]:
    return [Run(Delivery(None, "q", n), None) for n in range(count)]


def work(own: Ahead, slots: Slots, clock: Clock, seconds: float, available: int = 10_000) -> int:
    """Fetch once and run it all; how many were fetched."""
    count = min(own.room(slots.wait_free(1)), available)
    own.runs.extend(runs(count))
    while taken := own.take():
        clock.now += seconds * len(taken) / slots.capacity
    return count


def test_nothing_is_known_of_the_first(make: Callable[..., Ahead], clock: Clock) -> None:
    assert make(Slots()).room(1) == 1


def test_short_tasks_let_it_fetch_more_and_more(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots(2)
    own = make(slots)
    fetched = [work(own, slots, clock, SHORT) for _ in range(12)]
    assert fetched[0] == 2
    assert fetched == sorted(fetched)
    assert fetched[-1] == 2 + slots.lined_up + MOST
    assert slots.lined_up == 2 * PER_SLOT


def test_long_tasks_are_fetched_one_for_each_slot(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots(4)
    own = make(slots)
    assert {work(own, slots, clock, LONG) for _ in range(12)} == {4}
    assert slots.lined_up == 0


def test_many_slots_fetch_no_more_than_they_are(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots(1000)
    own = make(slots)
    assert {work(own, slots, clock, 0.05) for _ in range(5)} == {1000}


def test_a_task_that_was_long_makes_it_careful_at_once(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots()
    own = make(slots)
    for _ in range(10):
        work(own, slots, clock, SHORT)
    assert slots.lined_up
    assert work(own, slots, clock, LONG, available=2) == 2
    slots.busy = 1
    assert own.room(slots.wait_free(1)) == 0, "the slots that it has now, not those that it had"
    assert slots.lined_up == 0


def test_what_is_spawned_and_runs_is_not_taken_for_done(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots(8)
    own = make(slots)
    own.room(8)
    own.runs.extend(runs(3))
    own.take()
    slots.busy = 3
    clock.now += SHORT
    assert own.room(5) == 5


def test_little_work_keeps_it_small(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots()
    own = make(slots)
    for _ in range(10):
        work(own, slots, clock, SHORT)
    own.room(1)
    assert own.room(1) == 1, "nothing came meanwhile"


def test_what_waits_starts_before_more_is_fetched(make: Callable[..., Ahead], clock: Clock) -> None:
    own = make(Slots(2))
    own.room(2)
    own.runs.extend(runs(3))
    assert [run.delivery.token for run in own.take()] == [0, 1]
    assert own.room(1) == 0
    assert own.room(0) == 0
    assert [delivery.token for delivery in own.deliveries()] == [2]


def test_a_number_of_the_users_holds_whatever_runs(
    make: Callable[..., Ahead], clock: Clock, returned: list[Any]
) -> None:
    own = make(Slots(2), prefetch=5)
    assert own.room(2) == 7
    own.runs.extend(runs(4))
    assert own.room(2) == 0
    assert own.room(0) == 1
    clock.now += 100 * LONGEST
    assert returned == []


def test_all_of_it_is_given_back(make: Callable[..., Ahead], clock: Clock, returned: list[Any]) -> None:
    own = make(Slots())
    own.runs.extend(runs(3))
    own.give_back()
    assert returned == [2, 1, 0], "each to the head: in their order then"
    assert not own.deliveries()


def lining_up(make: Callable[..., Ahead], clock: Clock) -> tuple[Ahead, Slots]:
    """One that lets calls wait in its pool, as the tasks before were short."""
    slots = Slots()
    own = make(slots)
    while not slots.lined_up:
        work(own, slots, clock, SHORT)
    return own, slots


def test_of_what_waits_in_the_pool_only_the_consumers_own_is_given_back(
    make: Callable[..., Ahead], clock: Clock, returned: list[Any]
) -> None:
    own, slots = lining_up(make, clock)
    others, running, waiting = (
        Call(len, (), done, Run(Delivery(None, "q", n), None)) for n, done in enumerate((repr, print, print))
    )
    running.started = clock.now
    slots.waiting = [others, running, waiting]
    own.give_back()
    assert returned == [2]
    assert slots.waiting == [others, running]


def test_what_waits_in_the_pool_is_given_back_though_none_may_line_up_any_more(
    make: Callable[..., Ahead], clock: Clock, returned: list[Any]
) -> None:
    own, slots = lining_up(make, clock)
    behind = Call(len, (), print, Run(Delivery(None, "q", "behind"), None))
    slots.waiting, slots.busy = [behind], 2
    clock.now += LONG
    own.room(slots.wait_free(1))
    assert slots.lined_up == 0
    own.give_back()
    assert returned == ["behind"]


def test_at_the_end_the_pool_is_as_it_was(make: Callable[..., Ahead], clock: Clock) -> None:
    slots = Slots()
    own = make(slots)
    while not slots.lined_up:
        work(own, slots, clock, SHORT)
    own.stop()
    assert slots.lined_up == 0


@contextmanager
def service(own: Ahead) -> Iterator[None]:
    thread = Thread(target=own.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        own.stop()
        thread.join()


def test_what_waits_too_long_is_given_back_while_a_task_runs(
    make: Callable[..., Ahead], returned: list[Any]
) -> None:
    own = make(Slots())
    own.room(1)
    with service(own):
        for again in range(3):
            own.runs.extend(runs(5))
            assert [run.delivery.token for run in own.take()] == [0]
            until(lambda expected=4 * (again + 1): len(returned) == expected, "the return of what waits")
    assert 0 not in returned


def test_nothing_is_given_back_too_early(make: Callable[..., Ahead], returned: list[Any]) -> None:
    own = make(Slots())
    own.room(1)
    with service(own):
        began = time.monotonic()
        own.runs.extend(runs(2))
        own.take()
        until(lambda: returned, "the return of what waits")
        assert time.monotonic() - began >= LONGEST


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_a_long_task_leaves_what_was_fetched_with_it_to_other_workers(shop: Shop, pool: str) -> None:
    slots = 1 if pool == "solo" else 2
    for _ in range(300):
        shop.send("add", 1, 1)
    for n in range(slots):
        shop.send("nap", 600, shop.ledger, f"long {n}")
    others = [shop.send("add", n, 1) for n in range(50)]
    shop.worker("-P", pool, "-c", str(slots), env={"SHOP_NO_LIMITS": "1"})
    until(lambda: len(shop.lines()) == slots, "the start of the long ones")
    shop.worker("-P", "threads", "-c", "4", env={"SHOP_NO_LIMITS": "1"})
    assert [result.get(timeout=120) for result in others] == [n + 1 for n in range(50)]
