"""How many calls run at once."""

from __future__ import annotations

from pathlib import Path

import pools.conformance.chores as chores
from pools.base import Pool
from pools.conformance.workbench import Reports, Workbench, refuses, until, void
from pools.errors import Unsupported

__all__ = ["Size"]


class Size(Workbench):
    """Bounded spawning, waiting for a slot, and resizing while full."""

    def test_a_capacity_below_one_is_refused(self) -> None:
        assert refuses(lambda: void(self.make(0)), ValueError)
        with self.make(1) as pool:
            assert refuses(lambda: pool.resize(0), ValueError)
            assert pool.capacity == 1

    def test_calls_run_at_once_up_to_the_capacity_and_never_beyond(self) -> None:
        reports = Reports()
        with self.make(self.room(4)) as pool:
            for _ in range(16):
                pool.spawn(chores.timed, 0.1, done=reports)
                assert pool.busy <= pool.capacity
            assert until(pool, lambda: len(reports) == 16)
            most = overlap([call.value for call in reports.calls])
            assert most <= pool.capacity
            assert self.inline or most > 1

    def test_spawn_waits_while_the_pool_is_full(self, tmp_path: Path) -> None:
        with self.make(self.room(2)) as pool:
            held, gate = self.fill(pool, tmp_path)
            assert (pool.busy, pool.free) == (pool.capacity, 0)
            reports = Reports()
            spawner = pool.service(lambda: void(pool.spawn(chores.combine, 1, done=reports)), "spawner")
            pool.sleep(0.1)
            assert (len(reports), pool.busy, spawner.join(0)) == (0, pool.capacity, False)
            gate.touch()
            assert until(pool, lambda: len(reports) == 1 and pool.busy == 0)
            assert spawner.join(5)
            assert [call.value for call in held] == ["held"] * len(held)

    def test_many_spawners_never_exceed_the_capacity_and_lose_nothing(self) -> None:
        reports = Reports()
        most = 0
        with self.make(self.room(3)) as pool:

            def spawn_some() -> None:
                for _ in range(50):
                    pool.spawn(chores.nap, 0.001, done=reports)

            spawners = [pool.service(spawn_some, f"spawner-{number}") for number in range(8)]

            def finished() -> bool:
                nonlocal most
                most = max(most, pool.busy)
                return len(reports) == 400

            assert until(pool, finished)
            assert all(spawner.join(5) and spawner.error is None for spawner in spawners)
        assert len(set(reports.calls)) == 400
        assert most <= self.room(3)

    def test_wait_free_says_how_many_slots_are_free(self, tmp_path: Path) -> None:
        with self.make(self.room(2)) as pool:
            assert pool.wait_free(0) == pool.capacity
            _, gate = self.fill(pool, tmp_path)
            began = pool.now()
            assert pool.wait_free(0.1) == 0
            assert pool.now() - began >= 0.09
            free: list[int] = []
            waiter = pool.service(lambda: free.append(pool.wait_free(30)), "waiter")
            gate.touch()
            assert until(pool, lambda: free)
            assert free[0] > 0
            assert waiter.join(5)
            assert until(pool, lambda: pool.free == pool.capacity)

    def test_whoever_waits_for_a_free_slot_waits_until_there_is_one(self) -> None:
        free: list[int] = []
        with self.make(self.room(2)) as pool:

            def wait_and_spawn() -> None:
                free.append(pool.wait_free(60))
                pool.spawn(chores.nap, 0.01)

            spawners = [pool.service(wait_and_spawn, f"spawner-{number}") for number in range(20)]
            assert until(pool, lambda: all(spawner.join(0) for spawner in spawners))
            assert [spawner.error for spawner in spawners] == [None] * 20
        assert len(free) == 20
        assert min(free) > 0

    def test_a_waiting_spawn_goes_on_when_a_full_pool_grows(self, tmp_path: Path) -> None:
        with self.make(self.room(2)) as pool:
            if self.inline:
                assert refuses(lambda: pool.resize(2), Unsupported)
                return
            _, gate = self.fill(pool, tmp_path)
            reports = Reports()
            pool.service(lambda: void(pool.spawn(chores.combine, 1, done=reports)), "spawner")
            pool.sleep(0.05)
            assert len(reports) == 0
            pool.resize(3)
            assert pool.capacity == 3
            assert until(pool, lambda: len(reports) == 1)
            assert pool.busy == 2
            gate.touch()

    def test_a_waiter_for_a_free_slot_goes_on_when_a_full_pool_grows(self, tmp_path: Path) -> None:
        with self.make(self.room(1)) as pool:
            _, gate = self.fill(pool, tmp_path)
            if not self.inline:
                free: list[int] = []
                pool.service(lambda: free.append(pool.wait_free(30)), "waiter")
                pool.sleep(0.05)
                pool.resize(4)
                assert until(pool, lambda: free)
                assert free == [3]
            gate.touch()

    def test_a_shrink_ends_no_call_and_holds_for_those_after_it(self, tmp_path: Path) -> None:
        with self.make(self.room(3)) as pool:
            held, gate = self.fill(pool, tmp_path)
            pool.resize(1)
            assert (pool.capacity, pool.busy, pool.free) == (1, len(held), 0)
            reports = Reports()
            spawner = pool.service(lambda: self._spawn_timed(pool, 4, reports), "spawner")
            pool.sleep(0.05)
            assert not spawner.join(0)
            gate.touch()
            assert until(pool, lambda: len(reports) == 4)
            assert [call.value for call in held] == ["held"] * len(held)
            assert overlap([call.value for call in reports.calls]) == 1

    def test_growing_and_shrinking_under_load_loses_nothing(self) -> None:
        reports = Reports()
        with self.make(self.room(4)) as pool:
            spawner = pool.service(lambda: self._spawn_timed(pool, 120, reports, 0.002), "spawner")
            sizes = [1] if self.inline else [1, 6, 2, 8, 1, 4]
            for size in sizes * 3:
                pool.resize(size)
                pool.sleep(0.005)
            assert until(pool, lambda: len(reports) == 120)
            assert spawner.join(5)
            assert until(pool, lambda: pool.busy == 0)
            assert pool.free == pool.capacity

    def _spawn_timed(self, pool: Pool, count: int, reports: Reports, seconds: float = 0.02) -> None:
        for _ in range(count):
            pool.spawn(chores.timed, seconds, done=reports)

    def test_a_call_that_runs_cannot_be_taken_back(self, tmp_path: Path) -> None:
        with self.make(self.room(2)) as pool:
            pool.line_up(3)
            held, gate = self.fill(pool, tmp_path) if not self.inline else ([], tmp_path / "gate")
            assert not any(pool.withdraw(call) for call in held)
            gate.touch()
            pool.line_up(0)
            assert until(pool, lambda: pool.busy == 0)
            assert [call.value for call in held] == ["held"] * len(held)


def overlap(spans: list[tuple[float, float]]) -> int:
    """The largest number of spans that hold a common moment."""
    return max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans)
