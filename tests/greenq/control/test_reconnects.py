"""A worker whose pool is full is still there for remote control, however often it has lost its broker."""

from __future__ import annotations

import pytest

from tests.chaos.pings import pings


@pytest.mark.parametrize(("broker", "cuts"), [("redis", 50), ("amqp", 20)])
def test_a_full_worker_answers_each_time_it_has_lost_its_connections(broker: str, cuts: int) -> None:
    assert len(pings(broker, cuts)) == cuts
