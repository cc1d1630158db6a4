from __future__ import annotations

import asyncio
import contextvars
import gc
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable

import pytest

from pools import native
from pools.asyncio import AsyncioPool
from pools.base import Call, Pool
from pools.conformance import PoolConformance
from pools.errors import Killed, PoolClosed, PoolError
from tests.waiting import until


class TestAsyncioPool(PoolConformance):
    def make(self, capacity: int) -> Pool:
        return AsyncioPool(capacity)


def outcome(pool: AsyncioPool, fn: Callable[..., object], *args: object) -> Call:
    call = pool.spawn(fn, *args)
    until(lambda: call.finished)
    return call


# ── coroutines ───────────────────────────────────────────────────────────────────────────────────────────


def test_plain_code_waits_for_coroutines_on_the_pool_s_own_loop() -> None:
    async def loop_and_thread() -> tuple[int, int]:
        await asyncio.sleep(0.001)
        return id(asyncio.get_running_loop()), threading.get_ident()

    with AsyncioPool(10) as pool:
        bound = pool.bind(loop_and_thread)

        def twice() -> list[tuple[int, int]]:
            return [bound(), bound()]

        outcomes = {place for _ in range(5) for place in outcome(pool, twice).value}
        assert len(outcomes) == 1
        assert bound() not in outcomes  # outside of a call: the process's loop


def test_a_spawned_coroutine_function_is_awaited() -> None:
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    with AsyncioPool(1) as pool:
        assert outcome(pool, add, 1, 2).value == 3


def test_a_coroutine_is_told_to_await_instead_of_blocking_the_loop() -> None:
    with AsyncioPool(1) as pool:
        bound = pool.bind(asyncio.sleep)

        async def wrong() -> None:
            bound(0)

        assert "await" in str(outcome(pool, wrong).error)


def test_the_context_of_a_call_is_one_and_its_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="fresh")

    async def look(name: str) -> str:
        before = variable.get()
        await asyncio.sleep(0.001)
        variable.set(name)
        return before

    with AsyncioPool(100) as pool:
        bound = pool.bind(look)
        in_thread = pool.bind(variable.get)

        def work(number: int) -> list[str]:
            seen = [bound(f"first {number}"), bound(f"second {number}"), variable.get(), in_thread()]
            pool.sleep(0.001)
            return [*seen, variable.get()]

        calls = [pool.spawn(work, number) for number in range(100)]
        until(lambda: all(call.finished for call in calls))
        for number, call in enumerate(calls):
            second = f"second {number}"
            assert call.value == ["fresh", f"first {number}", second, second, second]


def test_thousands_of_waiting_calls_need_little_memory_and_leave_none() -> None:
    def one() -> None:
        bound(0.05)

    with AsyncioPool(5000) as pool:
        bound = pool.bind(asyncio.sleep)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        calls = [pool.spawn(one) for _ in range(20_000)]
        until(lambda: all(call.finished for call in calls) and pool.busy == 0)
        assert time.monotonic() - started < 40
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
        calls.clear()
        gc.collect()
        assert len(asyncio.all_tasks(pool._loop)) == 0


# ── interrupt and kill ───────────────────────────────────────────────────────────────────────────────────


def test_an_interrupt_can_be_handled_inside_the_coroutine() -> None:
    started: list[int] = []

    async def patient() -> str:
        started.append(1)
        try:
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
        except ValueError as error:
            await asyncio.sleep(0.001)
            return f"handled {error}"
        return "never"

    with AsyncioPool(1) as pool:
        call = pool.spawn(pool.bind(patient))
        until(lambda: started)
        assert pool.interrupt(call, ValueError("it"))
        until(lambda: call.finished)
        assert (call.value, call.error) == ("handled it", None)


def test_an_interrupt_through_a_task_group_is_the_interrupt_itself() -> None:
    started: list[int] = []

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            started.append(1)
            await asyncio.sleep(60)

    with AsyncioPool(1) as pool:
        call = pool.spawn(pool.bind(grouped))
        until(lambda: started)
        assert pool.interrupt(call, ValueError("it"))
        until(lambda: call.finished)
        assert isinstance(call.error, ValueError)
        assert "grouped" in "".join(traceback.format_exception(call.error))


def test_a_kill_runs_finally_blocks_that_wait_and_cannot_be_swallowed_by_a_coroutine() -> None:
    seen: list[str] = []

    async def stubborn() -> str:
        seen.append("started")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("swallowed")
        return "went on"

    with AsyncioPool(1) as pool:
        bound = pool.bind(stubborn)

        def work() -> None:
            try:
                bound()
            finally:
                pool.sleep(0.01)
                seen.append("finally")

        call = pool.spawn(work)
        until(lambda: seen)
        assert pool.kill(call)
        until(lambda: call.finished)
        assert isinstance(call.error, Killed)
        assert seen == ["started", "swallowed", "finally"]


def test_an_interrupt_right_after_the_start_is_never_lost() -> None:
    with AsyncioPool(20) as pool:
        calls = [pool.spawn(pool.sleep, 60) for _ in range(20)]
        waiting = list(calls)
        end = time.monotonic() + 20
        while waiting and time.monotonic() < end:
            waiting = [call for call in waiting if not pool.interrupt(call, ValueError("early"))]
        until(lambda: all(call.finished for call in calls))
        assert all(isinstance(call.error, ValueError) for call in calls)


def test_a_function_in_a_thread_can_be_interrupted_between_its_steps() -> None:
    seen: list[str] = []

    def steps() -> str:
        seen.append("started")
        try:
            while True:
                native.original("time", "sleep")(0.005)
        except ValueError:
            return "handled"

    with AsyncioPool(1) as pool:
        call = pool.spawn(pool.bind(steps))
        until(lambda: seen)
        assert pool.interrupt(call, ValueError("it"))
        until(lambda: call.finished)
        assert (call.value, call.error) == ("handled", None)


def test_a_killed_call_does_not_wait_for_its_thread_and_the_thread_is_not_reused() -> None:
    seen: list[str] = []
    release = native.Signal()

    def blocking() -> None:
        seen.append("started")
        try:
            release.wait(60)
        finally:
            seen.append("thread ended")

    with AsyncioPool(1) as pool:
        call = pool.spawn(pool.bind(blocking))
        until(lambda: seen)
        assert pool.kill(call)
        until(lambda: call.finished)
        assert isinstance(call.error, Killed)
        assert seen == ["started"]
        assert outcome(pool, pool.bind(lambda: "next")).value == "next"
        release.set()
        until(lambda: seen == ["started", "thread ended"])


def test_a_function_killed_while_it_waits_for_a_thread_never_begins() -> None:
    seen: list[str] = []
    release = native.Signal()

    with AsyncioPool(2) as pool:
        holder = pool.spawn(pool.bind(lambda: release.wait(60)))
        pool.resize(1)
        pool.resize(2)
        pool._crew.limit = 1
        queued = pool.spawn(pool.bind(seen.append), "begun")
        until(lambda: queued.started)
        assert pool.kill(queued)
        until(lambda: queued.finished)
        release.set()
        until(lambda: holder.finished)
        assert outcome(pool, pool.bind(lambda: "next")).value == "next"
    assert seen == []


# ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────


def test_functions_in_threads_do_not_block_the_loop() -> None:
    with AsyncioPool(20) as pool:
        block = pool.bind(native.original("time", "sleep"))
        started = time.monotonic()
        calls = [pool.spawn(block, 0.3) for _ in range(20)]
        quick = outcome(pool, pool.sleep, 0.001)
        assert time.monotonic() - started < 20
        assert quick.error is None
        until(lambda: all(call.finished for call in calls))
        assert time.monotonic() - started < 0.3 * 20 / 2


def test_a_call_spawns_others_and_waits_for_slots_without_blocking_them() -> None:
    ended: list[int] = []

    with AsyncioPool(3) as pool:

        def parent() -> int:
            for number in range(50):
                pool.spawn(pool.sleep, 0.001, done=lambda call, number=number: ended.append(number))  # type: ignore[misc]
            return pool.wait_free(20)

        assert outcome(pool, parent).value > 0
        until(lambda: len(ended) == 50)


def test_a_call_can_close_its_pool() -> None:
    with AsyncioPool(3) as pool:
        other = pool.spawn(pool.sleep, 60)
        call = pool.spawn(pool.close, 0.05)
        until(lambda: call.finished and other.finished)
        assert call.value is False
        assert isinstance(other.error, Killed)
        with pytest.raises(PoolClosed):
            pool.spawn(pool.sleep, 0)
        until(lambda: not pool._thread.thread.alive)


def test_code_that_ends_the_loop_s_thread_elsewhere_is_only_an_error_here() -> None:
    async def leave() -> None:
        sys.exit(3)

    async def leave_in_a_task() -> str:
        task = asyncio.create_task(leave())
        await asyncio.wait([task])
        return f"still here after {task.exception()!r}"

    with AsyncioPool(2) as pool:
        assert isinstance(outcome(pool, leave).error, SystemExit)
        assert isinstance(outcome(pool, sys.exit, 3).error, SystemExit)
        assert outcome(pool, leave_in_a_task).value == "still here after SystemExit(3)"
        assert outcome(pool, pool.sleep, 0).error is None


def test_code_on_the_loop_that_would_wait_for_the_pool_is_refused() -> None:
    with AsyncioPool(1) as pool:

        async def spawn_when_full() -> None:
            pool.spawn(pool.sleep, 0)

        assert isinstance(outcome(pool, spawn_when_full).error, PoolError)
        assert outcome(pool, pool.sleep, 0).error is None


PATCHED = """
{patch}
import asyncio, subprocess, sys, time
import pools

async def work(number):
    child = await asyncio.create_subprocess_exec("true")
    address = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    return await asyncio.to_thread(lambda: number), await child.wait(), address[0][4][0]

with pools.create("asyncio", 50) as pool:
    bound = pool.bind(work)
    calls = [pool.spawn(bound, number) for number in range(50)]
    sleeping = [pool.spawn(pool.sleep, 0.01) for _ in range(100)]
    blocking = [pool.spawn(pool.bind(time.sleep), 0.01) for _ in range(100)]
    killed = pool.spawn(pool.sleep, 60)
    pool.kill(killed)
    end = time.monotonic() + 40
    while time.monotonic() < end and not all(c.finished for c in calls + sleeping + blocking + [killed]):
        time.sleep(0.005)
    assert [c.value for c in calls] == [(n, 0, "127.0.0.1") for n in range(50)], [c.error for c in calls]
    assert [c.error for c in sleeping + blocking] == [None] * 200
    assert type(killed.error) is pools.Killed
print("fine")
"""


@pytest.mark.parametrize(
    "patch",
    [
        "from gevent import monkey; monkey.patch_all()",
        "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()",
    ],
)
def test_the_pool_works_in_a_patched_process(patch: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PATCHED.format(patch=patch)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("fine\n", "")


def test_a_pool_that_was_never_closed_ends_quietly_with_the_process() -> None:
    code = "import pools; pool = pools.create('asyncio', 5); [pool.spawn(pool.sleep, 60) for _ in range(5)]"
    ended = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
