"""Calls that wait in the prefork pool for a child: begun as soon as one is free, or taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pools.base import Call
from pools.conformance import chores
from pools.errors import Killed
from pools.prefork import PreforkPool
from tests.waiting import until


@pytest.fixture
def pool() -> Iterator[PreforkPool]:
    with PreforkPool(1) as made:
        yield made


class Held:
    """A call that runs until its gate is opened, and calls that wait behind it."""

    def __init__(self, pool: PreforkPool, folder: Path, waiting: int) -> None:
        self.reported: list[Call] = []
        self.gate = folder / "gate"
        started = folder / "started"
        self.running = pool.spawn(chores.hold, str(self.gate), str(started), done=self.reported.append)
        until(started.exists)
        pool.line_up(waiting)
        self.waiting = [pool.spawn(chores.combine, n, done=self.reported.append) for n in range(waiting)]


def test_they_begin_in_their_order_when_one_has_ended(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 3)
    assert (pool.busy, pool.free) == (4, 0)
    assert [call.started for call in held.waiting] == [0.0] * 3
    held.gate.touch()
    until(lambda: len(held.reported) == 4)
    assert held.reported == [held.running, *held.waiting]
    assert [call.value for call in held.waiting] == [(0,), (1,), (2,)]


def test_one_that_waits_can_be_taken_back_and_is_never_heard_of(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 3)
    assert pool.withdraw(held.waiting[1])
    assert not pool.withdraw(held.waiting[1])
    assert not pool.withdraw(held.running)
    assert pool.busy == 3
    held.gate.touch()
    until(lambda: pool.busy == 0)
    assert held.reported == [held.running, held.waiting[0], held.waiting[2]]
    assert not pool.withdraw(held.waiting[0])


def test_one_that_was_killed_is_reported_and_not_taken_back(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 2)
    assert pool.kill(held.waiting[0])
    assert not pool.withdraw(held.waiting[0])
    until(lambda: len(held.reported) == 1)
    assert isinstance(held.waiting[0].error, Killed)
    held.gate.touch()
    until(lambda: len(held.reported) == 3)


def test_a_child_that_dies_takes_none_of_them_with_it(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 3)
    assert pool.kill(held.running)
    until(lambda: len(held.reported) == 4)
    assert isinstance(held.running.error, Killed)
    assert [call.value for call in held.waiting] == [(0,), (1,), (2,)]


def test_each_may_kill_its_child(pool: PreforkPool) -> None:
    reported: list[Call] = []
    pool.line_up(4)
    for n in range(8):
        pool.spawn(chores.die if n % 2 else chores.combine, done=reported.append)
    until(lambda: len(reported) == 8)
    assert sorted(type(call.error).__name__ for call in reported) == ["CallDied"] * 4 + ["NoneType"] * 4


def test_nobody_is_woken_for_each_of_many(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 8)
    assert pool.wait_free(0) == 0
    assert pool.withdraw(held.waiting.pop())
    assert pool.wait_free(0.05) == 1, "what there is, after the timeout"
    held.gate.touch()
    assert pool.wait_free(60) >= 4
    until(lambda: pool.busy == 0)


def test_where_nobody_may_wait_any_more_those_that_do_are_begun(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 3)
    pool.line_up(0)
    assert (pool.busy, pool.wait_free(0)) == (4, 0)
    held.gate.touch()
    until(lambda: len(held.reported) == 4)
    assert pool.wait_free(60) == 1


def test_a_resize_keeps_room_for_them(pool: PreforkPool, tmp_path: Path) -> None:
    held = Held(pool, tmp_path, 2)
    pool.resize(2)
    until(lambda: len(held.reported) == 2)
    pool.resize(1)
    assert pool.wait_free(0) == 2
    held.gate.touch()
    until(lambda: pool.busy == 0)


def test_closing_lets_them_end(tmp_path: Path) -> None:
    pool = PreforkPool(1)
    held = Held(pool, tmp_path, 3)
    held.gate.touch()
    assert pool.close(60)
    assert [call.value for call in held.waiting] == [(0,), (1,), (2,)]


def test_closing_waits_for_none_that_was_taken_back(tmp_path: Path) -> None:
    pool = PreforkPool(1)
    held = Held(pool, tmp_path, 3)
    assert all(pool.withdraw(call) for call in held.waiting)
    held.gate.touch()
    assert pool.close(60)
    assert held.reported == [held.running]
