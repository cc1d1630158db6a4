"""The pool's size follows what waits, within its bounds."""

from __future__ import annotations

from typing import Any

import pytest

from greenq.message import Depth
from greenq.worker.duties import autoscale
from greenq.worker.duties.autoscale import Autoscale


class Place:
    """A pool, a broker and a consumer that do nothing but say how it stands."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.busy = 0
        self.ready = 0
        self.queues = ["celery"]
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def resize(self, capacity: int) -> None:
        self.capacity = capacity

    def depth(self) -> dict[str, Depth]:
        return {"celery": Depth(ready=self.ready), "other": Depth(ready=1000)}

    def reserved(self) -> list[Any]:
        return []


def scaled(place: Place, most: int, least: int) -> Autoscale:
    pool: Any = place
    return Autoscale(pool, pool, pool, most, least)


def test_it_grows_while_messages_wait_and_no_further_than_allowed() -> None:
    place = Place(2)
    scale = scaled(place, 10, 2)
    place.busy, place.ready = 2, 100
    sizes = []
    for _ in range(4):
        scale.look()
        sizes.append(place.capacity)
        place.busy = place.capacity
    assert sizes == [4, 8, 10, 10]


def test_it_does_not_grow_while_there_is_room() -> None:
    place = Place(4)
    scale = scaled(place, 10, 2)
    place.busy, place.ready = 3, 100
    scale.look()
    assert place.capacity == 4


def test_it_shrinks_to_what_was_needed_once_that_has_lasted() -> None:
    place = Place(10)
    scale = scaled(place, 10, 2)
    place.busy = 5
    for _ in range(int(autoscale.CALM) + 5):
        scale.look()
        place.time += autoscale.EVERY
    assert place.capacity == 5
    place.busy = 0
    for _ in range(int(autoscale.CALM) + 5):
        scale.look()
        place.time += autoscale.EVERY
    assert place.capacity == 2


def test_its_bounds_can_be_changed() -> None:
    place = Place(5)
    scale = scaled(place, 10, 2)
    assert scale.update(4, None) == (4, 2)
    assert place.capacity == 4
    assert scale.update(20, 8) == (20, 8)
    assert place.capacity == 8
    for most, least in ((0, 0), (3, 5), (5, 0)):
        with pytest.raises(ValueError, match="at least"):
            scale.update(most, least)
