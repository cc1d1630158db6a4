"""Workflows that cross Celery's and greenq's workers in alternation, whoever begins them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import celery
import pytest

from greenq import canvas
from tests.greenq.interop import celery_side, greenq_side
from tests.greenq.interop.sides import Sides, both
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

QUEUES = (greenq_side.QUEUE, celery_side.QUEUE)


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def sides(request: pytest.FixtureRequest) -> Iterator[Sides]:
    results = shared_redis().empty()
    broker = results if request.param == "redis" else shared_rabbit().empty()
    with both(broker, results) as running:
        yield running


class Builder:
    """Makes signatures of one side, each for the next worker's queue in turn."""

    def __init__(self, sides: Sides, producer: str) -> None:
        self.app: Any = getattr(sides, producer)
        self.canvas: Any = canvas if producer == "greenq" else celery
        self._turn = 0

    def sig(self, task: str, *args: Any, **options: Any) -> Any:
        self._turn += 1
        queue = QUEUES[self._turn % 2]
        return self.app.signature(f"interop.{task}", args, options={"queue": queue, **options}, app=self.app)

    def chain(self, *tasks: Any) -> Any:
        return self.canvas.chain(*tasks, app=self.app)

    def group(self, *tasks: Any) -> Any:
        return self.canvas.group(*tasks, app=self.app)

    def chord(self, header: Any, body: Any) -> Any:
        return self.canvas.chord(header, body, app=self.app)


@pytest.fixture(params=["celery", "greenq"])
def make(sides: Sides, request: pytest.FixtureRequest) -> Builder:
    return Builder(sides, request.param)


def get(result: Any) -> Any:
    return result.get(timeout=PATIENCE)


def test_a_chain_goes_from_worker_to_worker(make: Builder) -> None:
    result = make.chain(make.sig("add", 1, 1), *(make.sig("add", n) for n in range(5))).apply_async()
    assert get(result) == 12


def test_a_callback_is_sent_to_the_other_side(make: Builder) -> None:
    for _ in range(2):
        id = str(uuid.uuid4())
        callback = make.sig("add", 5, task_id=id)
        first = make.sig("add", 1, 2)
        first.link(callback)
        assert get(first.apply_async()) == 3
        assert get(make.app.AsyncResult(id)) == 8


def test_the_members_of_a_chord_are_counted_on_both_sides(make: Builder) -> None:
    for _ in range(2):  # the body runs on either side
        header = [make.sig("add", n, n) for n in range(11)]
        result = make.chord(header, make.sig("mirror")).apply_async()
        assert get(result) == [[[2 * n for n in range(11)]], {}]


def test_the_members_of_a_group_end_on_both_sides(make: Builder) -> None:
    chains = [make.chain(make.sig("add", n, n), make.sig("add", 1)) for n in range(4)]
    result = make.group(*chains, make.sig("mirror", "x")).apply_async()
    assert get(result) == [1, 3, 5, 7, [["x"], {}]]
    result.save()
    assert get(make.app.GroupResult.restore(result.id)) == [1, 3, 5, 7, [["x"], {}]]


def test_a_group_in_a_chain_waits_for_both_sides(make: Builder) -> None:
    group = make.group(*(make.sig("add", n) for n in range(4)))
    result = make.chain(make.sig("add", 1, 1), group, make.sig("mirror"), make.sig("mirror")).apply_async()
    assert get(result) == [[[[[2, 3, 4, 5]], {}]], {}]


def test_chords_in_chords_end_right(make: Builder) -> None:
    inner = [make.chord([make.sig("add", n, m) for m in range(3)], make.sig("mirror")) for n in range(3)]
    result = make.chord(inner, make.sig("mirror")).apply_async()
    assert get(result) == [[[[[[n, n + 1, n + 2]], {}] for n in range(3)]], {}]


def test_a_failure_in_a_chain_ends_what_was_to_follow(make: Builder) -> None:
    for _ in range(2):
        result = make.chain(make.sig("fail", "early"), make.sig("add", 1), make.sig("add", 2)).apply_async()
        with pytest.raises(ValueError, match="early"):
            get(result)
        make.sig("add")


def test_a_failing_member_fails_the_body_whoever_counts_last(make: Builder) -> None:
    for _ in range(2):
        header = [make.sig("add", 1, 1), make.sig("fail", "no"), make.sig("add", 2, 2)]
        error = make.chord(header, make.sig("mirror")).apply_async().get(timeout=PATIENCE, propagate=False)
        assert type(error).__name__ == "ChordError"
        assert "raised ValueError" in str(error)
        make.sig("add")


def test_an_errback_is_sent_with_the_failed_tasks_id(make: Builder) -> None:
    for _ in range(2):
        id = str(uuid.uuid4())
        failing = make.sig("fail", "oh")
        failing.link_error(make.sig("fail", task_id=id))
        result = failing.apply_async()
        ended: Callable[[], bool] = make.app.AsyncResult(id).ready
        until(ended, "the errback")
        with pytest.raises(ValueError, match=result.id):
            get(make.app.AsyncResult(id))


def test_an_errback_of_a_chord_is_sent_though_a_member_failed_elsewhere(make: Builder) -> None:
    for _ in range(2):
        id = str(uuid.uuid4())
        flow = make.chord([make.sig("add", 1, 1), make.sig("fail", "no")], make.sig("mirror"))
        flow.link_error(make.sig("fail", task_id=id))
        body = flow.apply_async()
        until(make.app.AsyncResult(id).ready, "the errback")
        with pytest.raises(ValueError, match=body.id):
            get(make.app.AsyncResult(id))
        make.sig("add")


def test_stamps_travel_through_both_workers(make: Builder, sides: Sides) -> None:
    flow = make.chain(make.sig("add", 1, 1), make.sig("add", 2), make.sig("add", 3))
    flow.stamp(customer="c1")
    last = flow.apply_async()
    assert get(last) == 7
    for result in (last, last.parent, last.parent.parent):
        # What comes next is sent before the result is stored, by either's workers.
        until(result.ready, f"the end of {result.id}")
        record = sides.celery.backend.get_task_meta(result.id)
        assert record["stamped_headers"] == ["customer"]
        assert record["customer"] in ("c1", ["c1"])
