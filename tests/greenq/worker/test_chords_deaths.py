"""Chords whose workers die: every member counts once, and the body is sent all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.canvas import chord
from tests.greenq.worker.ledgered import PATIENCE, Place
from tests.waiting import until

MEMBERS = 60


def noted(place: Place, kind: str) -> list[str]:
    """The lines of a kind."""
    return [line for line in place.lines() if line.startswith(kind)]


@pytest.fixture
def place(kind: str, tmp_path: Path) -> Iterator[Place]:
    made = Place("workflows", kind, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis", "rabbitmq"])
def test_a_worker_that_is_killed_among_the_members_changes_nothing_for_the_body(place: Place) -> None:
    place.start("-c", "5")
    member, body = (place.app.signature(f"workflows.{name}") for name in ("member", "body"))
    result = chord([member.clone((n, 0.05)) for n in range(MEMBERS)], body).apply_async()
    until(lambda: len(noted(place, "member")) > MEMBERS // 4, "some members", PATIENCE)
    place.kill_worker()
    assert result.get(timeout=PATIENCE) == sum(range(MEMBERS)), place.log
    assert noted(place, "body") == [f"body {result.id} {sum(range(MEMBERS))} {MEMBERS}"]
    again = len(noted(place, "member")) - MEMBERS
    assert 0 <= again <= 5, "more ran again than were in flight"


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_body_is_sent_though_the_process_that_counted_the_last_member_died_before(place: Place) -> None:
    place.start("-c", "5", WORKFLOWS_DIE="before the body")
    member, body = (place.app.signature(f"workflows.{name}") for name in ("member", "body"))
    result = chord([member.clone((n,)) for n in range(5)], body).apply_async()
    assert result.get(timeout=PATIENCE) == 10, place.log
    assert (place.path / "died").exists()
    assert noted(place, "body") == [f"body {result.id} 10 5"]
