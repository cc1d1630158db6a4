"""Chords of Celery's clients whose members nobody can count: ``celery.chord_unlock`` ends them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.greenq.interop.sides import Sides, both
from tests.greenq.interop.test_canvas import Builder
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    with both(shared_redis().empty(), f"file://{tmp_path_factory.mktemp('results')}") as running:
        yield running


def get(result: Any, **options: Any) -> Any:
    return result.get(timeout=PATIENCE, interval=0.1, **options)


@pytest.fixture
def make(sides: Sides) -> Builder:
    return Builder(sides, "celery")


def test_the_body_gets_what_members_on_both_sides_returned(make: Builder) -> None:
    for _ in range(2):  # the unlocking and the body are on either side
        header = [make.sig("add", n, n) for n in range(6)]
        assert get(make.chord(header, make.sig("mirror")).apply_async()) == [[[2 * n for n in range(6)]], {}]
        make.sig("add")


def test_a_failing_member_fails_the_body_and_calls_its_errback(make: Builder) -> None:
    for _ in range(2):
        id = str(uuid.uuid4())
        body = make.sig("mirror")
        body.link_error(make.sig("fail", task_id=id))
        header = [make.sig("add", 1, 1), make.sig("fail", "no"), make.sig("add", 2, 2)]
        result = make.chord(header, body).apply_async()
        error = get(result, propagate=False)
        assert type(error).__name__ == "ChordError"
        assert "ValueError" in str(error)
        until(make.app.AsyncResult(id).ready, "the errback")
        with pytest.raises(ValueError, match=result.id):
            get(make.app.AsyncResult(id))


def test_what_follows_the_body_goes_on(make: Builder) -> None:
    body = make.chain(make.sig("mirror"), make.sig("mirror"))
    result = make.chord([make.sig("add", n, n) for n in range(3)], body).apply_async()
    assert get(result) == [[[[[0, 2, 4]], {}]], {}]
