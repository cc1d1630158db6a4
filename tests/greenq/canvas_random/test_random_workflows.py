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
from tests.greenq.canvas_random.shapes import RETRIES, Failed, digest, make
from tests.servers import shared_redis

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

    def _retried(self, task: Any, *given: Any, seed: int, number: int) -> int:
        self._note(seed, number)
        if task.request.retries < RETRIES:
            raise task.retry(countdown=0)
        return digest(*given, number)

    def signature(self, kind: str, seed: int, number: int) -> Any:
        return self.app.signature(kind, kwargs={"seed": seed, "number": number})


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
        shape = make(seed)
        results[seed] = shape.signature(
            lambda kind, number, seed=seed: place.signature(kind, seed, number)  # type: ignore[misc]
        ).apply_async()
    for seed, result in results.items():
        runs: Counter[int] = Counter()
        try:
            expected: Any = make(seed).value((), runs)
        except Failed as failed:
            expected = failed.args[0]
        found = result.get(timeout=PATIENCE, propagate=False)
        found = type(found).__name__ if isinstance(found, Exception) else found
        assert found == expected, f"shape {seed}: {make(seed)}"
        place_runs = place.runs[seed]
        # What fails early leaves members of other branches that still run.
        assert all(place_runs[number] <= count for number, count in runs.items()), f"shape {seed}"
        assert set(place_runs) <= set(runs), f"shape {seed}: what should not run did"
        if not isinstance(expected, str):
            assert place_runs == runs, f"shape {seed}: {make(seed)}"
