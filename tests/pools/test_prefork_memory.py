"""Children that have grown too large are replaced."""

from __future__ import annotations

import os

from pools.memory import resident
from pools.prefork import PreforkPool
from tests.pools import prefork_chores as chores
from tests.pools.test_prefork import gone, outcome
from tests.waiting import until


def test_a_child_that_has_grown_too_large_is_replaced_once_its_call_is_over() -> None:
    with PreforkPool(2) as pool:
        large = outcome(pool, chores.hoard, 64 * 1024 * 1024).value
        assert resident(large) > 64 * 1024 * 1024
        pool.trim(64 * 1024 * 1024)
        until(lambda: gone(large))
        assert large not in {outcome(pool, os.getpid).value for _ in range(4)}


def test_children_that_have_run_nothing_are_never_too_large() -> None:
    with PreforkPool(1) as pool:
        pool.trim(1)
        first = outcome(pool, os.getpid).value
        pool.trim(1)
        until(lambda: gone(first))
        assert outcome(pool, os.getpid).value != first
