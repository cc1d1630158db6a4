"""What a step of the wall clock does to leases: nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from greenq.brokers.redis import RedisBroker
from greenq.message import Message, Settlement, Verdict
from tests.chaos.clocks import shifted, step_clocks
from tests.servers import start_redis


def test_a_redis_server_whose_clock_is_set_forward_takes_nothing_from_the_living(tmp_path: Path) -> None:
    with shifted(tmp_path) as clock:
        server = start_redis()
    url = server.empty()
    with RedisBroker(url) as holder, RedisBroker(url) as reaper:
        holder.lease("holder", 1.0)
        reaper.lease("reaper", 1.0)
        holder.publish([Message("q", {"id": "1", "task": "t"}, b"[]", "application/json", "utf-8")], 5.0)
        (delivery,) = holder.fetch(["q"], 1, 5.0)
        clock.set(3600)
        assert reaper.reap() == 0
        holder.renew()
        reaper.renew()
        assert reaper.reap() == 0
        assert holder.settle([Settlement(delivery, Verdict.ACK)], 5.0) == [True]
    server.stop()


def test_a_redis_server_whose_clock_is_set_back_returns_what_the_dead_held_all_the_same(
    tmp_path: Path,
) -> None:
    with shifted(tmp_path) as clock:
        server = start_redis()
    url = server.empty()
    with RedisBroker(url) as holder, RedisBroker(url) as reaper:
        holder.lease("holder", 1.0)
        reaper.lease("reaper", 1.0)
        holder.publish([Message("q", {"id": "1", "task": "t"}, b"[]", "application/json", "utf-8")], 5.0)
        assert len(holder.fetch(["q"], 1, 5.0)) == 1
        clock.set(-3600)
        deadline = time.monotonic() + 30.0
        while not reaper.reap():
            assert time.monotonic() < deadline, "the lease of a dead process does not end"
            reaper.renew()
            time.sleep(0.1)
    server.stop()


@pytest.mark.parametrize("broker", ["sqlite", "amqp"])
def test_steps_of_the_clock_run_nothing_twice(broker: str) -> None:
    assert step_clocks(broker, "threads", 2).problems == []
