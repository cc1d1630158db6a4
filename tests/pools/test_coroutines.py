"""Coroutines run on a loop that monkey-patching cannot harm."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys

import pytest

from pools import coroutines

SCENARIOS = [
    "everything_works_a_thousand_times_at_once",
    "subprocesses_work",
    "subprocesses_work_beside_the_program_s_own",
    "an_executor_of_the_program_works",
    "blocking_calls_in_threads_do_not_block_the_loop",
    "context_comes_along_and_does_not_leak",
    "exceptions_come_back_with_their_traceback",
    "a_call_from_the_loop_itself_is_refused",
    "a_soft_interrupt_is_raised_inside_the_coroutine",
    "a_kill_cancels_the_coroutine_and_runs_its_finally_blocks",
    "coroutines_and_callers_log_at_once",
    "a_forked_child_gets_a_loop_of_its_own",
    "leftovers_end_quietly_at_exit",
]


@pytest.mark.parametrize("mode", ["plain", "gevent", "eventlet"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_coroutines_under(mode: str, scenario: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.pools.coroutine_scenarios", mode, scenario],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split("\n")[0] == "fine", ended.stdout + ended.stderr
    assert ended.stderr == ""
    if scenario == "leftovers_end_quietly_at_exit":
        assert "cleaned up" in ended.stdout


async def double(number: int) -> int:
    return 2 * number


class Caller:
    async def __call__(self) -> str:
        return "called"


def test_whatever_makes_a_coroutine_is_bound() -> None:
    assert coroutines.bind(double)(4) == 8
    assert coroutines.bind(functools.partial(double, 5))() == 10
    assert coroutines.bind(Caller())() == "called"


def test_an_ordinary_function_stays_itself() -> None:
    assert coroutines.bind(len) is len
    assert coroutines.bind(Caller) is Caller


def test_a_bound_function_can_be_pickled_and_looks_like_the_original() -> None:
    bound = coroutines.bind(double)
    assert pickle.loads(pickle.dumps(bound))(3) == 6
    assert bound.__name__ == "double"
    assert not coroutines.is_coroutine_function(bound)
