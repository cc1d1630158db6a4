"""What comes back from calls."""

from __future__ import annotations

import gc
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pools.conformance.chores as chores
from pools.base import Pool
from pools.conformance.workbench import Reports, Workbench, until
from pools.errors import CallDied

__all__ = ["Results"]


class Results(Workbench):
    """Values, errors, reports, futures; and nothing that stays behind."""

    def test_a_call_returns_its_value(self) -> None:
        with self.make(self.room(2)) as pool:
            call = pool.spawn(chores.combine, 1, "two", tag="mine")
            assert until(pool, lambda: call.finished)
            assert (call.value, call.error, call.tag) == ((1, "two"), None, "mine")
            assert call.started > 0
            assert pool.busy == 0

    def test_an_exception_reaches_the_caller_with_its_traceback(self) -> None:
        with self.make(self.room(2)) as pool:
            call = pool.spawn(chores.explode, "boom")
            assert until(pool, lambda: call.finished)
            assert isinstance(call.error, LookupError)
            assert call.error.args == ("boom",)
            assert "_light_the_fuse" in "".join(traceback.format_exception(call.error))

    def test_something_that_cannot_be_called_is_an_error_of_the_call(self) -> None:
        with self.make(self.room(2)) as pool:
            call = pool.spawn("not a function")  # type: ignore[arg-type]
            assert until(pool, lambda: call.finished)
            assert isinstance(call.error, TypeError)

    def test_a_future_delivers_values_and_errors(self) -> None:
        with self.make(self.room(2)) as pool:
            good = pool.submit(chores.combine, 1)
            bad = pool.submit(chores.explode, "boom")
            assert until(pool, lambda: good.done() and bad.done())
            assert good.result(0) == (1,)
            assert isinstance(bad.exception(0), LookupError)

    def test_each_of_thousands_of_calls_is_reported_once(self) -> None:
        reports = Reports()
        with self.make(self.room(10)) as pool:
            calls = [pool.spawn(chores.combine, number, done=reports) for number in range(3000)]
            assert until(pool, lambda: len(reports) >= len(calls))
        assert len(reports) == len(calls)
        assert set(reports.calls) == set(calls)
        assert [call.value for call in calls] == [(number,) for number in range(3000)]

    def test_the_slot_is_free_when_done_is_called(self) -> None:
        free: list[int] = []
        with self.make(1) as pool:
            pool.spawn(chores.combine, done=lambda call: free.append(pool.free))
            assert until(pool, lambda: free)
        assert free == [1]

    def test_a_done_that_raises_is_printed_and_ends_nothing_else(self) -> None:
        printed: list[Any] = []

        def fail(_: object) -> None:
            raise LookupError("done failed")

        with ReplacedExcepthook(printed.append), self.make(self.room(2)) as pool:
            pool.spawn(chores.combine, done=fail)
            assert until(pool, lambda: printed)
            call = pool.spawn(chores.combine, 1)
            assert until(pool, lambda: call.finished)
            assert call.value == (1,)
        assert [str(each.exc_value) for each in printed] == ["done failed"]

    def test_thousands_of_calls_leave_no_growth(self) -> None:
        with self.make(self.room(8)) as pool:
            self._run_many(pool, 600)
            gc.collect()
            before = len(gc.get_objects())
            self._run_many(pool, 2400)
            gc.collect()
            assert len(gc.get_objects()) - before < 600

    def _run_many(self, pool: Pool, count: int) -> None:
        reports = Reports()
        for number in range(count):
            kind = (chores.combine, chores.explode, chores.nap)[number % 3]
            pool.spawn(kind, 0.0001, done=reports)
        assert until(pool, lambda: len(reports) == count)
        assert until(pool, lambda: pool.busy == 0)

    def test_calls_do_not_see_each_others_context(self) -> None:
        seen = []
        with self.make(1) as pool:
            for _ in range(5):
                call = pool.spawn(chores.look_at_context)
                assert until(pool, lambda call=call: call.finished)  # type: ignore[misc]
                seen.append(call.value)
        assert seen == ["clean"] * 5
        assert chores.mark.get() == "clean"

    def test_a_child_killed_in_mid_call_is_reported_and_replaced(self) -> None:
        with self.make(self.room(2)) as pool:
            if not pool.features.isolated:
                return  # it would be this very process
            reports = Reports()
            victim = pool.spawn(chores.die, done=reports)
            others = [pool.spawn(chores.combine, number, done=reports) for number in range(20)]
            assert until(pool, lambda: len(reports) == 21)
            assert isinstance(victim.error, CallDied)
            assert victim.error.exitcode == -9
            assert [call.value for call in others] == [(number,) for number in range(20)]
            assert reports.calls.count(victim) == 1
            assert pool.free == 2


class ReplacedExcepthook:
    """Collect what is printed as an exception in a thread, instead of printing it."""

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self._hook = hook

    def __enter__(self) -> None:
        self._before = threading.excepthook
        threading.excepthook = self._hook

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._before
