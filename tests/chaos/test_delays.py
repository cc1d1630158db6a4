"""The short form of `python -m tests.chaos.delays`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.delays import BROKERS, GROWTH, park

TASKS = 3000
LATE = 10.0
"""Seconds: the long form holds to one or two, on a machine that does nothing else."""


@pytest.mark.parametrize("broker", BROKERS)
def test_delayed_tasks_wait_outside_the_worker_and_run_at_their_time(broker: str, tmp_path: Path) -> None:
    report = park(broker, TASKS, "gevent", tmp_path)
    assert report.problems == [], report.table()
    assert report.growth < GROWTH, report.table()
    assert max(report.meanwhile + report.offs) < LATE, report.table()
