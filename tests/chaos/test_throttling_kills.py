"""Limits hold over four processes that are killed, and nothing stays taken: the short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.throttling import Event, judge, run, servers


@pytest.mark.parametrize("broker", ["sqlite", "redis", "rabbitmq"])
def test_no_limit_is_exceeded_and_none_stays_taken(broker: str, tmp_path: Path) -> None:
    report = run(*servers(broker, tmp_path), kills=3, tasks=25)
    assert report.problems == []
    assert report.kills == 3
    assert report.again >= 1


def test_the_judge_sees_more_at_once_than_slots() -> None:
    begun = [Event(float(pid), pid, "begin", "few", "all", str(pid)) for pid in range(4)]
    assert judge(begun).problems == ["4 of few all ran at 3.000"]
    assert judge([*begun[:3], Event(2.5, 0, "end", "few", "all", "0"), begun[3]]).problems == []
    assert judge([*begun[:3], Event(2.5, 1, "kill"), begun[3]]).problems == []


def test_the_judge_sees_two_of_one_key() -> None:
    begun = [Event(float(pid), pid, "begin", "only", "k", str(pid)) for pid in range(2)]
    assert judge(begun).problems == ["2 of only k ran at 1.000"]


def test_the_judge_sees_a_rate_that_is_kept_by_each_process_for_itself() -> None:
    begun = [Event(number / 80, 1, "begin", "seldom", "all", str(number)) for number in range(400)]
    assert judge(begun).problems == ["the rate let 400 begin where 141 may"]
