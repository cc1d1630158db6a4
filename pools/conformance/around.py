"""What goes on beside the calls."""

from __future__ import annotations

import functools
import time
from contextlib import suppress
from pathlib import Path

import pools.conformance.chores as chores
from pools import native
from pools.base import Blocking, Pool, Watch
from pools.conformance.workbench import Reports, Workbench, refuses, until, void
from pools.errors import Killed

__all__ = ["AroundTheCalls"]


class AroundTheCalls(Workbench):
    """Services, native calls, watching, and coroutine functions."""

    def test_services_run_while_the_pool_is_full(self, tmp_path: Path) -> None:
        beats: list[int] = []
        with self.make(self.room(2)) as pool:
            _, gate = self.fill(pool, tmp_path)

            def beat() -> None:
                while len(beats) < 20:
                    beats.append(1)
                    pool.sleep(0.002)

            service = pool.service(beat, "beat")
            assert until(pool, lambda: service.join(0))
            assert (len(beats), service.error, pool.free) == (20, None, 0)
            gate.touch()

    def test_a_service_keeps_what_ended_it(self) -> None:
        with self.make(1) as pool:
            service = pool.service(lambda: chores.explode("over"), "short")
            assert service.join(10)
            assert isinstance(service.error, LookupError)

    def test_native_calls_return_values_and_raise_errors(self) -> None:
        with self.make(1) as pool:
            assert pool.native_call(chores.combine, 1, 2) == (1, 2)
            assert pool.native_call(native.original("time", "sleep"), 0) is None
            assert "boom" in refuses(lambda: void(pool.native_call(chores.explode, "boom")), LookupError)

    def test_a_native_call_blocks_nobody_else(self) -> None:
        block = native.Signal()
        beats: list[float] = []
        with self.make(self.room(2)) as pool:

            def beat() -> None:
                while len(beats) < 30:
                    beats.append(pool.now())
                    pool.sleep(0.005)
                block.set()

            service = pool.service(beat, "beat")
            # It blocks a native thread until the service has had its thirty turns.
            pool.native_call(_wait_for, block)
            assert len(beats) == 30
            assert service.join(5)

    def test_calls_lists_what_has_not_ended(self, tmp_path: Path) -> None:
        with self.make(self.room(3)) as pool:
            assert pool.calls() == []
            held, gate = self.fill(pool, tmp_path)
            assert set(pool.calls()) == set(held)
            gate.touch()
            assert until(pool, lambda: pool.calls() == [])

    def test_watch_tells_what_runs_for_how_long_and_where(self, tmp_path: Path) -> None:
        with self.make(self.room(2)) as pool:
            assert pool.watch().running == []
            held, gate = self.fill(pool, tmp_path)
            pool.sleep(0.05)
            for watch in (pool.watch(), _watch_from_outside(pool)):
                assert {running.call for running in watch.running} == set(held)
                assert watch.breathed < 5
                for running in watch.running:
                    assert running.seconds >= 0.05
                    assert pool.features.isolated or any(" in hold" in line for line in running.stack)
            gate.touch()

    def test_watch_tells_when_something_blocks_a_green_pool(self) -> None:
        with self.make(1) as pool:
            if pool.features.patches is None:
                return
            watches: list[Watch] = []

            def observe() -> None:
                for _ in range(10):
                    watches.append(pool.watch())

            observer = native.start(observe, "observer")
            call = pool.spawn(_block_the_hub, observer)
            assert until(pool, lambda: call.finished)
            assert max(watch.breathed for watch in watches) > 0.3
            blocked = [line for watch in watches for running in watch.running for line in running.stack]
            assert any("_block_the_hub" in line for line in blocked)
            assert _watch_from_outside(pool).breathed < 5

    def test_what_blocks_a_pool_is_told_with_its_stack(self, tmp_path: Path) -> None:
        with self.make(self.room(3)) as pool:
            if type(pool).blocking is Pool.blocking:
                assert pool.breathed() == 0.0
                return
            for fn in (_block_the_pool, pool.bind(_block_as_coroutine)):
                pool.spawn(chores.hold, str(tmp_path / "gate"))
                seen: list[tuple[float, Blocking]] = []
                observer = native.start(functools.partial(_observe_block, pool, seen), "observer")
                call = pool.spawn(fn, observer)
                assert until(pool, lambda call=call: call.finished)  # type: ignore[misc]
                assert seen, "the pool always answered"
                for seconds, blocking in seen:
                    assert seconds > 0.3
                    assert blocking.call is call
                    assert blocking.thread
                assert pool.breathed() < 5
            (tmp_path / "gate").touch()

    def test_what_blocks_a_pool_after_it_was_abandoned_is_told(self, tmp_path: Path) -> None:
        with self.make(1) as pool:
            if pool.features.patches is None:
                return
            observers: list[native.NativeThread] = []
            seen: list[tuple[float, Blocking]] = []
            call = pool.spawn(_swallow_then_block, tmp_path / "started", observers)
            assert until(pool, (tmp_path / "started").exists)
            pool.kill(call)
            pool.abandon(call)
            assert until(pool, lambda: call.finished)
            observers.append(native.start(functools.partial(_observe_block, pool, seen), "observer"))
            assert until(pool, lambda: not observers[0].alive)
            assert seen, "the pool always answered"
            for _, blocking in seen:
                assert blocking.call is None
                assert blocking.abandoned

    # ── coroutine functions ──────────────────────────────────────────────────────────────────────────────

    def test_bind_leaves_plain_functions_callable(self) -> None:
        with self.make(1) as pool:
            call = pool.spawn(pool.bind(chores.combine), 1)
            assert until(pool, lambda: call.finished)
            assert call.value == (1,)

    def test_bound_coroutine_functions_return_and_raise(self) -> None:
        reports = Reports()
        with self.make(self.room(4)) as pool:
            double = pool.bind(chores.doubled_later)
            calls = [pool.spawn(double, number, done=reports) for number in range(12)]
            bad = pool.spawn(pool.bind(chores.explode_later), "boom", done=reports)
            assert until(pool, lambda: len(reports) == 13)
            assert [call.value for call in calls] == [2 * number for number in range(12)]
            assert isinstance(bad.error, LookupError)

    def test_asyncio_works_inside_bound_coroutine_functions(self, tmp_path: Path) -> None:
        (tmp_path / "note").write_text("read in a thread")
        with self.make(1) as pool:
            call = pool.spawn(pool.bind(chores.use_asyncio), str(tmp_path / "note"))
            assert until(pool, lambda: call.finished)
            assert call.error is None, repr(call.error)
            assert list(call.value) == ["read in a thread", ("127.0.0.1", 80), "42", 0]

    def test_interrupting_a_bound_call_ends_its_coroutine(self, tmp_path: Path) -> None:
        started, cleaned = tmp_path / "started", tmp_path / "cleaned"
        with self.make(1) as pool:
            if not (pool.features.interrupt and pool.features.patches):
                return  # elsewhere the interrupt comes when the coroutine has ended, or ends the process
            call = pool.spawn(pool.bind(chores.cancelled_coroutine), str(started), str(cleaned))
            assert until(pool, started.exists)
            pool.kill(call)
            assert until(pool, lambda: call.finished)
            assert isinstance(call.error, Killed)
            assert until(pool, cleaned.exists)


def _wait_for(signal: native.Signal) -> None:
    signal.wait(30)


def _watch_from_outside(pool: Pool) -> Watch:
    watches: list[Watch] = []
    outside = native.start(lambda: watches.append(pool.watch()), "outside")
    assert until(pool, lambda: not outside.alive)
    return watches[0]


def _observe_block(pool: Pool, seen: list[tuple[float, Blocking]]) -> None:
    end = time.monotonic() + 20
    while len(seen) < 3 and time.monotonic() < end:
        seconds = pool.breathed()
        blocking = pool.blocking() if seconds > 0.3 else None
        # On a busy machine the pool is held up before that too, in whatever it is about to do.
        if blocking is not None and any(" in _block_" in line for line in blocking.stack):
            seen.append((seconds, blocking))


def _block_the_pool(observer: native.NativeThread) -> None:
    _block_the_hub(observer)


def _swallow_then_block(started: Path, observers: list[native.NativeThread]) -> None:
    started.touch()
    while not observers:
        with suppress(BaseException):
            native.Signal().wait(0.02)
    _block_the_hub(observers[0])


async def _block_as_coroutine(observer: native.NativeThread) -> None:
    _block_the_hub(observer)


def _block_the_hub(observer: native.NativeThread) -> None:
    """Spin, as a careless task does, until it has been watched for a while."""
    end = time.monotonic() + 20
    while observer.alive and time.monotonic() < end:
        pass
