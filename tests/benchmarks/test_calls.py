"""What a message costs in calls: a figure of speed that a loaded machine hardly blurs, so it is asserted."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import calls
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis

MOST = 60
"""Python calls for one message, in all threads, those of other libraries included."""
MOST_TOGETHER = 40
"""What is left for one message where a hundred are taken at once: what is done for a batch is shared."""


def _count(broker: str, batch: int) -> dict[str, Any]:
    servers = {"redis": shared_redis, "amqp": shared_rabbit}
    url = servers[broker]().empty() if broker in servers else None
    return calls.count(broker, batch, 300 if batch == 1 else 2000, url)


@pytest.mark.parametrize("batch", calls.BATCHES)
@pytest.mark.parametrize("broker", calls.BROKERS)
def test_a_message_costs_only_so_many_python_calls(broker: str, batch: int) -> None:
    found = _count(broker, batch)
    most = MOST if batch == 1 else MOST_TOGETHER
    assert 15 < found["calls"] <= most, calls.table([found], most=200)
    assert 1 <= found["frames"] <= 3, "greenq's frames between the pool and the task"
    assert f"| {broker} | {batch} |" in calls.table([found])


def test_every_thread_is_counted_green_or_native() -> None:
    where = {row["where"] for row in _count("sqlite", 1)["most"]}
    assert "greenq/worker/runner.py:Runner.run" in where, "green threads are not counted"
    assert "greenq/sqlite/engine.py:Engine._work" in where, "native threads are not counted"
