"""What a call leaves behind, and that the next one on the same pool sees none of it; run by test_green.py."""

from __future__ import annotations

import contextvars
import gc
import importlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from greenlet import getcurrent, greenlet

from pools import native
from pools.base import Call, Pool
from pools.conformance.chores import Interruption
from pools.conformance.workbench import Reports, until
from pools.errors import Killed
from pools.greenthreads import GreenThreads
from pools.native import Signal
from pools.patching import unpatched
from pools.table import create

LIBRARY = os.environ["GREEN_POOL"]
PATCHED = not unpatched(LIBRARY)
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")
if PATCHED:
    local: Any = threading.local()
else:
    local = importlib.import_module("gevent.local" if LIBRARY == "gevent" else "eventlet.corolocal").local()


class Resource:
    """Something that is released when nobody refers to it any more."""


def plant_timeout(seconds: float) -> None:
    module: Any = importlib.import_module(LIBRARY)
    timeout = module.Timeout(seconds)
    if LIBRARY == "gevent":  # eventlet's has started by itself
        timeout.start()


def plant_everything(blocks: bool) -> None:
    local.value = "soiled"
    variable.set("soiled")
    getcurrent().value = "soiled"  # type: ignore[attr-defined]
    threading.current_thread().name = "soiled"
    plant_timeout(0.1)
    if blocks:
        Signal().wait(0.001)


def find_nothing(seconds: float) -> list[str]:
    """Return what is found of an earlier call, now or while waiting."""
    found = [name for name in ("local", "attribute", "variable", "name") if _is_soiled(name)]
    Signal().wait(seconds)
    return found


def _is_soiled(name: str) -> bool:
    if name == "local":
        return hasattr(local, "value")
    if name == "attribute":
        return hasattr(getcurrent(), "value")
    if name == "variable":
        return variable.get() != "clean"
    return PATCHED and LIBRARY == "gevent" and threading.current_thread().name == "soiled"


def green_threads() -> int:
    gc.collect()
    return sum(type(thing) is greenlet for thing in gc.get_objects())


@pytest.fixture
def pool() -> Iterator[Pool]:
    with create(LIBRARY, 20) as pool:
        yield pool


@pytest.fixture(autouse=True)
def thread_name() -> Iterator[None]:
    name = threading.current_thread().name
    yield
    threading.current_thread().name = name


def run_all(pool: Pool, *calls: Call) -> None:
    assert until(pool, lambda: all(call.finished for call in calls))


@pytest.mark.parametrize("blocks", [False, True])
def test_the_next_call_finds_nothing_of_what_a_call_planted(
    pool: Pool, blocks: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(5):
        run_all(pool, *[pool.spawn(plant_everything, blocks) for _ in range(20)])
        calls = [pool.spawn(find_nothing, 0.2) for _ in range(20)]
        run_all(pool, *calls)
        assert [call.error for call in calls] == [None] * 20
        assert [call.value for call in calls] == [[]] * 20
    assert capfd.readouterr().err == ""


def test_calls_in_one_run_of_a_green_thread_find_nothing_of_each_other(pool: Pool) -> None:
    calls = []
    for _ in range(10):
        pool.spawn(plant_everything, False)
        calls.append(pool.spawn(find_nothing, 0))
    run_all(pool, *calls)
    assert [call.value for call in calls] == [[]] * 10
    pool.sleep(0.15)


def test_an_interrupt_that_comes_late_hits_nobody(pool: Pool) -> None:
    pool.resize(1)
    for _ in range(50):
        gate = Signal()
        victim = pool.spawn(gate.wait, 10)
        assert until(pool, lambda victim=victim: victim.started)  # type: ignore[misc]
        gate.set()
        pool.sleep(0)
        pool.interrupt(victim, Interruption())
        pool.kill(victim)
        follower = pool.spawn(find_nothing, 0.002)
        run_all(pool, victim, follower)
        assert follower.error is None


def test_an_interrupt_that_is_under_way_when_its_call_ends_hits_nobody(pool: Pool) -> None:
    reports = Reports()

    def end_at_once() -> None:
        pool.spawn(find_nothing, 0.001, done=reports)

    for _ in range(50):
        call = pool.spawn(end_at_once)
        # Delivered in the hub, after the green thread has gone on to the call that follows.
        pool._soon(pool._throw, call, Interruption())  # type: ignore[attr-defined]
        run_all(pool, call)
    assert until(pool, lambda: len(reports) == 50)
    assert [call.error for call in reports.calls] == [None] * 50


def test_a_resource_in_a_green_local_is_released_when_its_call_has_ended(pool: Pool) -> None:
    resources: list[weakref.ref[Resource]] = []

    def use() -> None:
        local.resource = Resource()
        resources.append(weakref.ref(local.resource))
        Signal().wait(0.001)

    run_all(pool, *[pool.spawn(use) for _ in range(20)])
    run_all(pool, pool.spawn(find_nothing, 0))
    hasattr(local, "resource")  # eventlet keeps the values of whoever looked last
    assert until(pool, lambda: all(resource() is None for resource in resources))


def test_green_threads_that_only_waited_are_used_again(pool: Pool) -> None:
    gate = Signal()

    def behave() -> int:
        gate.wait(60)
        Signal().wait(0.001)
        pool.sleep(0.001)
        logging.getLogger("tests.pools").warning("a record names its thread")
        return id(getcurrent())

    first = [pool.spawn(behave) for _ in range(20)]
    assert until(pool, lambda: all(call.started for call in first))
    gate.set()
    again = [pool.spawn(behave) for _ in range(200)]
    run_all(pool, *first, *again)
    assert {call.value for call in again} <= {call.value for call in first}
    # The last ones are looked through after their calls have been reported.
    assert until(pool, lambda: len(threading.enumerate()) < 5)


def test_soiled_green_threads_end_and_leave_no_growth(pool: Pool) -> None:
    for turn in range(3):
        run_all(pool, *[pool.spawn(plant_everything, True) for _ in range(300)])
        assert until(pool, lambda: green_threads() <= 30), turn
    assert until(pool, lambda: len(threading.enumerate()) < 5)


def test_idle_green_threads_are_let_go_after_a_burst() -> None:
    with create(LIBRARY, 1000) as pool:
        gate = Signal()
        calls = [pool.spawn(gate.wait, 60) for _ in range(1000)]
        assert until(pool, lambda: all(call.started for call in calls))
        gate.set()
        run_all(pool, *calls)
        assert green_threads() > 500
        assert until(pool, lambda: (pool.sleep(0.2), green_threads() < 100)[1])
    assert until(pool, lambda: green_threads() < 20)


def test_what_waves_need_again_and_again_is_kept_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    hired: list[greenlet] = []
    hire = GreenThreads._hire

    def hire_counted(pool: GreenThreads) -> greenlet:
        hired.append(hire(pool))
        return hired[-1]

    monkeypatch.setattr(GreenThreads, "_hire", hire_counted)
    waves = [time.monotonic()]
    with create(LIBRARY, 1000) as pool:
        while waves[-1] < waves[0] + 4:
            gate = Signal()
            calls = [pool.spawn(gate.wait, 60) for _ in range(1000)]
            assert until(pool, lambda calls=calls: all(call.started for call in calls))
            gate.set()
            run_all(pool, *calls)
            pool.sleep(0.1)
            waves.append(time.monotonic())
    # Where the machine held one up, they were idle for long enough.
    late = sum(after - before > 0.5 for before, after in pairwise(waves))
    assert len(hired) < 1100 + 1000 * late


def test_short_calls_do_not_keep_others_from_running() -> None:
    def spin() -> None:
        sum(range(2000))

    beats: list[float] = []
    with create(LIBRARY, 20000) as pool:

        def beat() -> None:
            while pool.busy:
                beats.append(time.process_time())  # others on this machine do not count
                pool.sleep(0.001)

        for _ in range(20000):
            pool.spawn(spin)
        service = pool.service(beat, "beat")
        assert until(pool, lambda: service.join(0))
    gaps = [after - before for before, after in pairwise(beats)]
    assert max(gaps) < 1
    assert len(beats) > 10


def test_starting_and_closing_many_pools_leaves_nothing() -> None:
    def use() -> None:
        with create(LIBRARY, 5) as pool:
            run_all(pool, *[pool.spawn(find_nothing, 0.001) for _ in range(10)])

    use()
    before = green_threads()
    for _ in range(50):
        use()
    assert green_threads() <= before + 5


def test_a_call_may_kill_and_interrupt_itself(pool: Pool) -> None:
    def end(how: str) -> None:
        (me,) = (call for call in pool.calls() if call.tag == how)
        if how == "kill":
            pool.kill(me)
        pool.interrupt(me, Interruption())
        raise AssertionError("it went on")

    calls = [pool.spawn(end, how, tag=how) for how in ("kill", "interrupt")]
    run_all(pool, *calls)
    assert [type(call.error) for call in calls] == [Killed, Interruption]
    assert pool.busy == 0


def test_every_method_works_from_another_native_thread() -> None:
    pool = create(LIBRARY, 1)
    reports = Reports()
    seen: list[object] = []

    def act() -> None:
        gate = Signal()
        first = pool.spawn(gate.wait, 60, done=reports)
        seen.extend([pool.wait_free(0.05), pool.busy])
        second = native.start(lambda: pool.spawn(find_nothing, 0, done=reports), "second")
        seen.append(second.join(0.05))
        pool.resize(2)
        seen.extend([second.join(30), pool.wait_free(30)])
        victim = pool.spawn(Signal().wait, 60, done=reports)
        seen.append(pool.kill(victim))
        gate.set()
        seen.append(pool.close(30))
        seen.extend([first.value, type(victim.error)])

    outside = native.start(act, "outside")
    assert until(pool, lambda: not outside.alive)
    assert seen == [0, 1, False, True, 1, True, True, True, Killed]
    assert len(set(reports.calls)) == len(reports) == 3
