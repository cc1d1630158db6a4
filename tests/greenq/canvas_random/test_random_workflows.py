"""Random workflows come to what a reference evaluation says, and each call runs as often as it says.

``RANDOM_SHAPES=1000`` tries more of them.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

import pools
from greenq import GreenQ, Worker
from tests.greenq.canvas_random.shapes import ERRBACKS, RETRIES, Shape, digest, make
from tests.servers import shared_redis
from tests.waiting import until

SHAPES = int(os.environ.get("RANDOM_SHAPES", "40"))
PATIENCE = 120.0


class Place:
    """An application with a worker, and a ledger of what ran."""

    def __init__(self, url: str) -> None:
        self.app = GreenQ("random", broker=url, results=url)
        self.runs: defaultdict[int, Counter[int]] = defaultdict(Counter)
        self._lock = threading.Lock()
        self.app.task(self._call, name="call")
        self.app.task(self._failing, name="failing")
        self.app.task(self._sent, name="sent")
        self.app.task(self._told, name="told")
        self.app.task(_bound(self._retried), name="retried", bind=True, max_retries=RETRIES)

    def _note(self, seed: int, number: int) -> None:
        with self._lock:
            self.runs[seed][number] += 1

    def _call(self, *given: Any, seed: int, number: int) -> int:
        self._note(seed, number)
        return digest(*given, number)

    def _failing(self, *given: Any, seed: int, number: int) -> None:
        self._note(seed, number)
        raise ValueError(number)

    def _sent(self, task_id: str, *, seed: int, number: int) -> None:
        self._note(seed, number)

    def _told(self, request: Any, exc: BaseException, traceback: str, *, seed: int, number: int) -> None:
        self._note(seed, number)

    def _retried(self, task: Any, *given: Any, seed: int, number: int) -> int:
        self._note(seed, number)
        if task.request.retries < RETRIES:
            raise task.retry(countdown=0)
        return digest(*given, number)

    def signature(self, shape: Shape, seed: int) -> Any:
        made = self.app.signature(shape.kind, kwargs={"seed": seed, "number": shape.number})
        if shape.errback:
            errback = {"seed": seed, "number": shape.number + ERRBACKS}
            made.link_error(self.app.signature(shape.errback, kwargs=errback))
        return made

    def empty(self) -> bool:
        """Whether nothing is left to be done."""
        depth = self.app.broker.depth().get("celery")
        return depth is None or not (depth.ready + depth.delayed + depth.leased)


def _bound(method: Any) -> Any:
    def retried(task: Any, *given: Any, seed: int, number: int) -> Any:
        return method(task, *given, seed=seed, number=number)

    return retried


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place("memory://random" if request.param == "memory" else shared_redis().empty())
    pool = pools.create("threads", capacity=8)
    worker = Worker(made.app, pool=pool)
    worker.start()
    try:
        yield made
    finally:
        worker.stop(5)
        pool.close(1)
        made.app.close()


def test_a_workflow_comes_to_what_its_evaluation_says(place: Place) -> None:
    results = {}
    for seed in range(SHAPES):
        made = make(seed).signature(lambda call, seed=seed: place.signature(call, seed))  # type: ignore[misc]
        results[seed] = made.apply_async()
    expected: dict[int, Counter[int]] = {}
    for seed, result in results.items():
        value, expected[seed] = make(seed).expectation()
        found = result.get(timeout=PATIENCE, propagate=False)
        found = type(found).__name__ if isinstance(found, Exception) else found
        assert found == value, f"shape {seed}: {make(seed)}"
    # What fails early leaves errbacks, and members of other branches, that still run.
    until(place.empty, "the end of what is left", PATIENCE)
    for seed, runs in expected.items():
        spared = make(seed).unjudged(runs)
        found = {number: count for number, count in place.runs[seed].items() if number not in spared}
        assert found == runs, f"shape {seed}: {make(seed)}"
