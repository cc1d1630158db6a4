"""Faults under a worker at work on SQLite, in their short form."""

from __future__ import annotations

import pytest

from tests.chaos import short_forms

BROKER = "sqlite"


@pytest.mark.parametrize("pool", short_forms.POOLS)
def test_kills_lose_nothing_and_repeat_only_what_was_in_flight(pool: str) -> None:
    assert short_forms.kill(BROKER, pool) == []


@pytest.mark.parametrize("fused", [True, False], ids=["in one step", "step by step"])
def test_a_crash_at_any_place_of_a_messages_way_loses_nothing(fused: bool) -> None:
    assert short_forms.crash(BROKER, fused) == []


def test_stopped_at_any_moment_a_command_ends_in_time_and_loses_nothing() -> None:
    assert short_forms.terminate(BROKER, "gevent") == []


def test_a_worker_that_slept_through_its_lease_changes_nothing_any_more() -> None:
    assert short_forms.pause(BROKER, "gevent") == []


def test_tasks_ten_leases_long_are_run_once_on_a_busy_worker() -> None:
    assert short_forms.outlast(BROKER, "gevent") == []
