"""What is fetched beyond what can start: much while tasks are short, nothing while they are long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from greenq.message import Delivery
from greenq.worker import ahead
from greenq.worker.ahead import FIRST, LONGEST, MOST, Ahead
from greenq.worker.runs import Run
from tests.greenq.worker.conftest import Shop
from tests.waiting import until

SHORT, LONG = 0.0001, 0.1
"""Seconds that tasks take; the first by far less than what is short, as machines are busy."""


class Clock:
    """Time passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(ahead.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def returned() -> list[Delivery]:
    return []


def runs(count: int) -> list[Run]:
    return [Run(Delivery(None, "q", n), None) for n in range(count)]


def work(own: Ahead, clock: Clock, slots: int, seconds: float, available: int = 10_000) -> int:
    """Fetch once and run it all; how many were fetched."""
    count = min(own.room(slots), available)
    own.add(runs(count))
    while taken := own.take(slots):
        clock.now += seconds * len(taken) / slots
    return count


def test_nothing_is_known_of_the_first(clock: Clock, returned: list[Delivery]) -> None:
    assert Ahead(None, returned.append).room(1) == 1


def test_short_tasks_let_it_fetch_more_and_more_up_to_a_moments_work(
    clock: Clock, returned: list[Delivery]
) -> None:
    own = Ahead(None, returned.append)
    fetched = [work(own, clock, 2, SHORT) for _ in range(12)]
    assert fetched[:3] == [2, 2 + FIRST, 2 + 3 * FIRST]
    assert fetched == sorted(fetched)
    assert fetched[-1] == 2 + MOST


def test_long_tasks_are_fetched_one_for_each_slot(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    assert {work(own, clock, 4, LONG) for _ in range(12)} == {4}


def test_many_slots_fetch_no_more_than_they_are(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    assert {work(own, clock, 1000, 0.05) for _ in range(5)} == {1000}


def test_a_task_that_was_long_makes_it_careful_at_once(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    for _ in range(10):
        work(own, clock, 1, SHORT)
    assert work(own, clock, 1, LONG, available=2) == 2
    assert own.room(1) == 1


def test_little_work_keeps_it_small(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    for _ in range(10):
        work(own, clock, 1, SHORT)
    own.room(1)
    assert own.room(1) == 1, "nothing came meanwhile"


def test_what_waits_starts_before_more_is_fetched(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    own.add(runs(3))
    assert own.room(1) == 0
    assert own.room(0) == 0
    assert [run.delivery.token for run in own.take(2)] == [0, 1]
    assert [delivery.token for delivery in own.deliveries()] == [2]


def test_a_number_of_the_users_holds_whatever_runs(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(5, returned.append)
    assert own.room(2) == 7
    own.add(runs(4))
    assert own.room(2) == 0
    assert own.room(0) == 1
    clock.now += 100 * LONGEST
    assert returned == []


def test_all_of_it_is_given_back(clock: Clock, returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    own.add(runs(3))
    own.give_back()
    assert [delivery.token for delivery in returned] == [2, 1, 0], "each to the head: in their order then"
    assert not len(own)


@contextmanager
def service(own: Ahead) -> Iterator[None]:
    thread = Thread(target=own.run)
    thread.start()
    try:
        yield
    finally:
        own.stop()
        thread.join()


def test_what_waits_too_long_is_given_back_while_a_task_runs(returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    with service(own):
        for again in range(3):
            own.add(runs(5))
            [first] = own.take(1)
            until(lambda expected=4 * (again + 1): len(returned) == expected, "the return of what waits")
            assert first.delivery not in returned


def test_nothing_is_given_back_too_early(returned: list[Delivery]) -> None:
    own = Ahead(None, returned.append)
    with service(own):
        began = time.monotonic()
        own.add(runs(2))
        own.take(1)
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
