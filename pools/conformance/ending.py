"""How calls, and the pool, are ended from outside."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pools.conformance.chores as chores
from pools import native
from pools.base import Call, Pool
from pools.conformance.workbench import HushedDestructors, Reports, Workbench, refuses, until, void
from pools.errors import Killed, PoolClosed, Unsupported

__all__ = ["Ending"]


class Ending(Workbench):
    """Interrupts, kills and close: whatever happens, each call is reported exactly once."""

    def start(self, pool: Pool, folder: Path, fn: object, *args: object, done: Reports | None = None) -> Call:
        """Launch a function that first notes in a file that it has started, and wait for that."""
        started = folder / f"started-{len(list(folder.iterdir()))}"
        call = self.launch(pool, fn, str(started), *args, done=done)  # type: ignore[arg-type]
        assert until(pool, started.exists)
        return call

    # ── interrupt ────────────────────────────────────────────────────────────────────────────────────────

    def test_what_a_pool_cannot_do_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        with self.make(1) as pool:
            gate = tmp_path / "gate"
            call = self.launch(pool, chores.hold, str(gate))
            for able, act, why in (
                (pool.features.interrupt, lambda: void(pool.interrupt(call, Killed())), "why_no_interrupt"),
                (pool.features.kill, lambda: void(pool.kill(call)), "why_no_kill"),
            ):
                reason = getattr(pool.features, why)
                assert bool(reason) != able
                assert able or reason in refuses(act, Unsupported)
            gate.touch()
            assert until(pool, lambda: call.finished)
            assert call.error is None

    def test_a_call_can_catch_an_interrupt(self, tmp_path: Path) -> None:
        with self.make(1) as pool:
            if pool.features.interrupt:
                call = self.start(pool, tmp_path, chores.catch)
                assert pool.interrupt(call, chores.Interruption("enough", 7))
                assert until(pool, lambda: call.finished)
                assert (call.value, call.error) == (("enough", 7), None)

    def test_an_interrupt_that_is_not_caught_ends_the_call(self, tmp_path: Path) -> None:
        reports = Reports()
        with self.make(1) as pool:
            if pool.features.interrupt:
                call = self.start(pool, tmp_path, chores.cleanup, str(tmp_path / "cleaned"), done=reports)
                pool.interrupt(call, chores.Interruption("enough"))
                assert until(pool, lambda: call.finished)
                assert isinstance(call.error, chores.Interruption)
                assert (tmp_path / "cleaned").exists()
                assert until(pool, lambda: pool.busy == 0)
                assert reports.calls == [call]

    def test_an_interrupt_from_a_native_thread_arrives(self, tmp_path: Path) -> None:
        with self.make(1) as pool:
            if pool.features.interrupt:
                call = self.start(pool, tmp_path, chores.catch)
                native.start(lambda: pool.interrupt(call, chores.Interruption("from outside")), "outside")
                assert until(pool, lambda: call.finished)
                assert call.value == ("from outside",)

    def test_interrupting_a_call_that_has_ended_is_answered_false(self) -> None:
        with self.make(1) as pool:
            if pool.features.interrupt:
                call = pool.spawn(chores.combine)
                assert until(pool, lambda: call.finished)
                assert not pool.interrupt(call, chores.Interruption())

    def test_a_late_interrupt_never_reaches_another_call(self) -> None:
        reports = Reports()
        with HushedDestructors(), self.make(1) as pool:
            if not pool.features.interrupt:
                return
            chaser = pool.service(lambda: self._chase(pool, reports), "chaser")
            for number in range(150):
                pool.spawn(chores.astray, 0.002, done=reports, tag=number)
            assert until(pool, lambda: len(reports) == 150)
            assert chaser.join(10)
            assert chaser.error is None
            calm = pool.spawn(chores.timed, 0.05)
            assert until(pool, lambda: calm.finished)
            assert calm.error is None
        for call in reports.calls:
            assert call.error is None or call.error.args == (call.tag,), repr(call.error)

    def _chase(self, pool: Pool, reports: Reports) -> None:
        end = pool.now() + 30
        while len(reports) < 150 and pool.now() < end:
            for call in pool.calls():
                pool.interrupt(call, chores.Interruption(call.tag))
            pool.sleep(0.001)

    # ── kill ─────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_killed_call_frees_its_slot_and_is_reported_once(self, tmp_path: Path) -> None:
        reports = Reports()
        cleaned = tmp_path / "cleaned"
        with self.make(1) as pool:
            if not pool.features.kill:
                return
            call = self.start(pool, tmp_path, chores.cleanup, str(cleaned), done=reports)
            assert pool.kill(call)
            assert until(pool, lambda: len(reports))
            assert isinstance(call.error, Killed)
            assert cleaned.exists() or pool.features.isolated
            assert pool.wait_free(10) == 1
            after = pool.spawn(chores.combine, 1)
            assert until(pool, lambda: after.finished)
            assert after.value == (1,)
            assert not pool.kill(call)
            assert reports.calls == [call]

    def test_a_call_that_swallows_its_kill_can_be_killed_again(self, tmp_path: Path) -> None:
        reports = Reports()
        swallowed = tmp_path / "swallowed"
        with self.make(1) as pool:
            if pool.features.kill:
                call = self.start(pool, tmp_path, chores.stubborn, str(swallowed), done=reports)
                assert pool.kill(call)
                assert until(pool, lambda: swallowed.exists() or call.finished)
                assert call.finished or pool.kill(call)
                assert until(pool, lambda: len(reports))
                assert isinstance(call.error, Killed)
        assert not reports.calls[1:]

    def test_a_call_that_swallows_every_kill_can_be_given_up(self, tmp_path: Path) -> None:
        reports = Reports()
        gate = tmp_path / "gate"
        with self.make(1) as pool:
            if not pool.features.kill:
                return
            call = self.start(pool, tmp_path, chores.deaf, str(gate), done=reports)
            for _ in range(3):
                pool.kill(call)
                pool.sleep(0.01)
            pool.abandon(call)
            assert until(pool, lambda: len(reports))
            assert isinstance(call.error, Killed)
            assert not pool.abandon(call)
            assert pool.wait_free(10) == 1
            after = pool.spawn(chores.combine, 1)
            assert until(pool, lambda: after.finished)
            gate.touch()
            pool.sleep(0.1)
            later = [pool.spawn(chores.combine, n) for n in range(3)]
            assert until(pool, lambda: all(call.finished for call in later))
            assert pool.close(10)
            assert reports.calls == [call]
            assert call.value is None

    def test_a_call_killed_at_once_is_reported_once(self, tmp_path: Path) -> None:
        reports = Reports()
        with self.make(self.room(4)) as pool:
            if not pool.features.kill:
                return
            for _ in range(40):
                assert pool.kill(pool.spawn(chores.nap, 60, done=reports))
            assert until(pool, lambda: len(reports) == 40 and pool.busy == 0)
            assert all(isinstance(call.error, Killed) for call in reports.calls)
            after = pool.spawn(chores.combine, 1, done=reports)
            assert until(pool, lambda: after.finished)
        assert len(reports) == len(set(reports.calls)) == 41

    def test_a_kill_from_a_native_thread_arrives(self, tmp_path: Path) -> None:
        reports = Reports()
        with self.make(1) as pool:
            if pool.features.kill:
                call = self.start(pool, tmp_path, chores.catch, done=reports)
                native.start(lambda: pool.kill(call), "outside")
                assert until(pool, lambda: len(reports))
                assert isinstance(call.error, Killed)

    # ── all at once ──────────────────────────────────────────────────────────────────────────────────────

    def test_interrupts_kills_and_resizes_at_random_lose_nothing(self) -> None:
        reports = Reports()
        count = 400
        with HushedDestructors(), self.make(self.room(6)) as pool:
            meddlers = [
                pool.service(partial(self._meddle, pool, reports, count, seed), "meddler")
                for seed in range(3)
            ]
            spawners = [
                pool.service(partial(self._spawn_range, pool, start, count // 4, reports), "spawner")
                for start in range(0, count, count // 4)
            ]
            assert until(pool, lambda: len(reports) == count)
            for service in meddlers + spawners:
                assert service.join(10)
                assert service.error is None
            assert until(pool, lambda: pool.busy == 0)
        assert len(set(reports.calls)) == count
        for call in reports.calls:
            if call.error is None:
                assert call.value == call.tag
            else:
                assert isinstance(call.error, (Killed, LookupError, chores.Interruption)), repr(call.error)
                assert isinstance(call.error, Killed) or call.error.args == (call.tag,)

    def _spawn_range(self, pool: Pool, start: int, count: int, reports: Reports) -> None:
        for number in range(start, start + count):
            pool.spawn(chores.wander, number, done=reports, tag=number)

    def _meddle(self, pool: Pool, reports: Reports, count: int, seed: int) -> None:
        chance = random.Random(seed)
        end = pool.now() + 40
        while len(reports) < count and pool.now() < end:
            for call in chance.sample(calls := pool.calls(), min(len(calls), 1)):
                if pool.features.kill and chance.random() < 0.3:
                    pool.kill(call)
                elif pool.features.interrupt:
                    pool.interrupt(call, chores.Interruption(call.tag))
            if chance.random() < 0.1:
                pool.resize(self.room(chance.choice((2, 6, 9))))
            pool.sleep(chance.random() * 0.004)

    # ── close ────────────────────────────────────────────────────────────────────────────────────────────

    def test_close_without_a_deadline_waits_for_all(self) -> None:
        reports = Reports()
        pool = self.make(self.room(4))
        for _ in range(8):
            pool.spawn(chores.nap, 0.05, done=reports)
        assert pool.close()
        assert len(reports) == 8
        assert pool.busy == 0

    def test_close_with_a_deadline_ends_what_is_left_and_reports_it_once(self, tmp_path: Path) -> None:
        reports = Reports()
        pool = self.make(self.room(3))
        gate = tmp_path / "gate"
        calls = [self.launch(pool, chores.hold, str(gate), done=reports) for _ in range(pool.capacity)]
        began = pool.now()
        assert not pool.close(0.1)
        assert pool.now() - began < 20
        assert until(pool, lambda: len(reports) == len(calls))
        expected = (Killed, PoolClosed) if pool.features.kill else PoolClosed
        assert all(call.finished and isinstance(call.error, expected) for call in calls)
        gate.touch()
        pool.sleep(0.1)
        assert len(reports) == len(calls)

    def test_a_closed_pool_takes_no_calls_and_can_be_closed_again(self) -> None:
        pool = self.make(1)
        assert pool.close(5)
        assert refuses(lambda: void(pool.spawn(chores.combine)), PoolClosed)
        assert refuses(lambda: void(pool.wait_free(0)), PoolClosed)
        assert pool.close(5)
        assert pool.busy == 0

    def test_a_spawn_that_waits_is_refused_when_the_pool_closes(self, tmp_path: Path) -> None:
        pool = self.make(self.room(2))
        held, gate = self.fill(pool, tmp_path)
        spawner = pool.service(lambda: void(pool.spawn(chores.combine)), "spawner")
        pool.sleep(0.05)
        closer = pool.service(lambda: void(pool.close(30)), "closer")
        assert until(pool, lambda: spawner.join(0))
        assert isinstance(spawner.error, PoolClosed)
        assert not closer.join(0)
        gate.touch()
        assert until(pool, lambda: closer.join(0))
        assert [call.value for call in held] == ["held"] * len(held)
