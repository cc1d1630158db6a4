"""The short form of every fault; the tests of each broker are a class of these."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.chaos.amnesia import forget_everything
from tests.chaos.checker import Report
from tests.chaos.commands import CONCURRENCY
from tests.chaos.crashes import crash_everywhere
from tests.chaos.kills import Kills, kill_at_random
from tests.chaos.longer import outlast_leases
from tests.chaos.pauses import pause_at_random
from tests.chaos.terms import stop_at_random

__all__ = ["Amnesia", "InOneStep", "ShortForms"]

SLACK = 60.0
"""Seconds by which a machine that is busy with other tests may miss the bounds: the long form holds them."""


class ShortForms:
    """Every fault, a few times.

    Attributes:
        broker: under whose workers it is injected.
    """

    broker: ClassVar[str]

    @pytest.mark.parametrize("pool", CONCURRENCY)
    def test_kills_lose_nothing_and_repeat_only_what_was_in_flight(self, pool: str) -> None:
        check(kill_at_random(Kills(self.broker, pool, 4, 400, slack=SLACK)))

    def test_a_crash_at_any_place_of_a_messages_way_loses_nothing(self) -> None:
        check(crash_everywhere(self.broker, "gevent", False, SLACK))

    def test_stopped_at_any_moment_a_command_ends_in_time_and_loses_nothing(self) -> None:
        check(stop_at_random(self.broker, "gevent", 3, slack=SLACK))

    def test_a_worker_that_slept_through_its_lease_changes_nothing_any_more(self) -> None:
        check(pause_at_random(self.broker, "gevent", 1))

    def test_tasks_ten_leases_long_are_run_once_on_a_busy_worker(self) -> None:
        check(outlast_leases(self.broker, "gevent"))


class InOneStep(ShortForms):
    """Brokers that can be one with their result store."""

    def test_a_crash_around_the_one_step_that_commits_everything_loses_nothing(self) -> None:
        check(crash_everywhere(self.broker, "gevent", True, SLACK))


class Amnesia(ShortForms):
    """Brokers that can lose what they had."""

    def test_a_worker_goes_on_when_its_broker_comes_back_empty(self) -> None:
        check(forget_everything(self.broker, "gevent", 1))


def check(report: Report) -> None:
    """Show what was wrong."""
    assert not report.problems, "\n".join(report.problems)
