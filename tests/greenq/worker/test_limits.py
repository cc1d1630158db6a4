"""Limits that the pool or the broker could not keep are said at the start; looking for them takes little."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from greenq import GreenQ
from greenq.errors import ConfigError
from greenq.worker.handlers import handlers_of
from greenq.worker.limits import Limits, refuse_limits_beyond, warn_of_endless
from pools.table import create


def check(longest: float | None, **options: float | bool) -> None:
    app = GreenQ("shop", broker="memory://limits", results=None)
    app.task(name="shop.work", **options)(len)
    handlers = handlers_of(app.tasks, lambda fn: fn, False).values()
    refuse_limits_beyond(longest, handlers)
    warn_of_endless(longest, handlers)
    app.close()


def test_a_task_may_not_outlast_the_brokers_patience() -> None:
    with pytest.raises(ConfigError, match=r"shop\.work has a time_limit of 3600 s.*consumer_timeout"):
        check(1800.0, time_limit=3600)


def test_a_task_without_a_limit_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check(1800.0)
    assert "longer than 1800 s" in caplog.text
    assert "shop.work" in caplog.text


@pytest.mark.parametrize("options", [{"time_limit": 60}, {"acks_late": False}])
def test_nothing_is_said_of_tasks_that_end_in_time_or_are_acknowledged_first(
    options: dict[str, float | bool], caplog: pytest.LogCaptureFixture
) -> None:
    check(1800.0, **options)
    assert caplog.text == ""


def test_nothing_is_said_where_the_broker_waits_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    check(None, time_limit=1e6)
    check(None)
    assert caplog.text == ""


class Crowd:
    """So many running calls that going through them takes 5 ms."""

    def __init__(self) -> None:
        self.looks = 0

    def running(self) -> list[Any]:
        self.looks += 1
        end = time.thread_time() + 0.005
        while time.thread_time() < end:
            pass
        return []


def test_where_very_many_run_the_looks_become_rarer() -> None:
    app = GreenQ("shop", broker="memory://limits", results=None)
    app.task(name="shop.work", time_limit=60)(len)
    crowd: Any = Crowd()
    with create("threads", 1) as pool:
        limits = Limits(pool, crowd, handlers_of(app.tasks, lambda fn: fn, False).values())
        service = pool.service(limits.run, "limits")
        pool.sleep(1.8)
        limits.stop()
        assert service.join(60)
    app.close()
    assert 1 <= crowd.looks <= 6  # every 0.5 s, where it would be every 0.1
