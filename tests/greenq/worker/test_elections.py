"""Of all workers that stand in an election, one acts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from greenq import GreenQ
from greenq.radio import Post
from greenq.worker import elections
from greenq.worker.elections import Elections


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elections, "VOTING", 0.0)


def standing(name: str, acted: list[tuple[str, Any]], told: list[str]) -> Elections:
    app = GreenQ("election", broker="memory://election")
    topics = {"task": lambda action: acted.append((name, action))}
    return Elections(name, app.codecs, lambda type, **_: told.append(type), topics)


def candidate(node: str, clock: Any, id: str = "1", topic: str = "task") -> Post:
    event = {"id": id, "clock": clock, "hostname": node, "pid": 1, "topic": topic, "action": "act", "cver": 1}
    return Post("celeryev", "worker.elect", json.dumps(event).encode())


def test_the_lowest_clock_wins_everywhere_and_then_the_lowest_name() -> None:
    acted: list[tuple[str, Any]] = []
    told: list[str] = []
    workers = [standing(f"{name}.1", acted, told) for name in "abc"]
    for worker in workers:
        worker.hold("1", "task", "act")
        for node, clock in (("c", 5), ("b", 4), ("a", 4)):
            worker.take(candidate(node, clock))
        worker.count()
    assert acted == [("a.1", "act")]
    assert told.count("worker-elect") == 3
    assert told.count("worker-elect-ack") == 9


def test_rubbish_and_unknown_topics_elect_nobody() -> None:
    acted: list[tuple[str, Any]] = []
    worker = standing("a.1", acted, [])
    for post in (
        Post("celeryev", "worker.elect", b"{"), Post("celeryev", "worker.elect", b"[]"),
        Post("celeryev", "worker.elect.ack", b"{}"), candidate("a", "soon"), candidate("a", 1, "2", "none"),
    ):  # fmt: skip
        worker.take(post)
    assert worker.count() is None
    assert acted == []
