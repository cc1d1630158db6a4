"""Many calls of a task at once: what each gets, how few slots it takes, and what a death leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenq import Batch, GreenQ, InvalidOption, Worker
from greenq.composer import new_id
from pools import table
from tests.waiting import until

QUICK = Batch(size=10, seconds=0.1)


@pytest.fixture
def app() -> Iterator[GreenQ]:
    address = f"memory://{new_id()}"
    app = GreenQ("shop", broker=address, results=address)
    yield app
    app.close()


@pytest.fixture
def start(app: GreenQ) -> Iterator[Any]:
    """Starts a worker on threads once the tasks are there."""
    made: list[Worker] = []
    pools: list[Any] = []

    def start(capacity: int = 4, **options: Any) -> Worker:
        pools.append(table.create("threads", capacity))
        made.append(Worker(app, pools[-1], **options))
        made[-1].start()
        return made[-1]

    yield start
    for worker in made:
        worker.stop(10)
    for pool in pools:
        pool.close(0)


def test_calls_are_run_together_and_each_has_its_own_result(app: GreenQ, start: Any) -> None:
    sizes: list[int] = []

    @app.task(batch=QUICK)
    def add(requests: Any) -> Any:
        sizes.append(len(requests))
        return [sum(request.args) + request.kwargs["c"] for request in requests]

    results = [add.delay(n, 1, c=5) for n in range(25)]
    start()
    assert [result.get(timeout=60) for result in results] == [n + 6 for n in range(25)]
    assert sum(sizes) == 25
    assert max(sizes) <= 10
    assert len(sizes) < 25


def test_a_batch_waits_for_others_no_longer_than_it_says(app: GreenQ, start: Any) -> None:
    @app.task(batch=Batch(size=1000, seconds=0.1))
    def add(requests: Any) -> Any:
        return [len(requests)] * len(requests)

    start()
    assert add.delay().get(timeout=60) >= 1


def test_each_call_may_end_otherwise(app: GreenQ, start: Any) -> None:
    @app.task(batch=QUICK, max_retries=2)
    def store(requests: Any) -> Any:
        for request in requests:
            if request.args[0] == "marked":
                request.mark("by mark")
            elif request.args[0] == "failed":
                request.fail(KeyError("by fail"))
            elif request.args[0] == "retried" and request.retries < 2:
                request.retry(countdown=0)
        return [
            ValueError("in the list") if request.args[0] == "error" else request.retries
            for request in requests
        ]

    results = {word: store.delay(word) for word in ("marked", "failed", "retried", "error", "plain")}
    start()
    ends = {word: result.get(timeout=60, propagate=False) for word, result in results.items()}
    assert (ends["marked"], ends["retried"], ends["plain"]) == ("by mark", 2, 0)
    assert isinstance(ends["failed"], KeyError)
    assert isinstance(ends["error"], ValueError)


def test_what_it_raises_is_the_end_of_all_but_those_that_have_one(app: GreenQ, start: Any) -> None:
    @app.task(batch=QUICK)
    def store(requests: Any) -> None:
        for request in requests:
            if request.args[0] == 0:
                request.mark("done")
        raise ValueError("all others")

    results = [store.delay(n) for n in range(5)]
    start()
    ends = [result.get(timeout=60, propagate=False) for result in results]
    assert ends[0] == "done"
    assert all(isinstance(end, ValueError) for end in ends[1:])


def test_a_retry_of_the_task_is_one_of_each_call(app: GreenQ, start: Any) -> None:
    @app.task(bind=True, batch=QUICK, max_retries=3)
    def explicit(self: Any, requests: Any) -> Any:
        if any(request.retries == 0 for request in requests):
            raise self.retry(countdown=0)
        return [request.args[0] for request in requests]

    @app.task(batch=QUICK, autoretry_for=(ValueError,), retry_backoff=False, default_retry_delay=0)
    def automatic(requests: Any) -> Any:
        if any(request.retries == 0 for request in requests):
            raise ValueError
        return [request.args[0] for request in requests]

    results = [task.delay(n) for n in range(4) for task in (explicit, automatic)]
    start()
    assert [result.get(timeout=60) for result in results] == [n for n in range(4) for _ in range(2)]


@pytest.mark.parametrize(("value", "kind"), [([1], ValueError), (5, TypeError), ("ab", TypeError)])
def test_a_list_that_fits_not_is_a_failure(app: GreenQ, start: Any, value: Any, kind: type) -> None:
    @app.task(batch=QUICK)
    def store(requests: Any) -> Any:
        return value

    results = [store.delay(), store.delay()]
    start()
    if value == [1]:  # it fits a batch of one, as two messages may come one after the other
        ends = [result.get(timeout=60, propagate=False) for result in results]
        assert all(end == 1 or isinstance(end, kind) for end in ends)
    else:
        assert all(isinstance(result.get(timeout=60, propagate=False), kind) for result in results)


def test_gathering_takes_no_slot_and_a_batch_takes_one(app: GreenQ, start: Any) -> None:
    running = threading.Event()
    release = threading.Event()

    @app.task(batch=Batch(size=50, seconds=3600))
    def store(requests: Any) -> Any:
        running.set()
        release.wait(60)
        return [len(requests)] * len(requests)

    @app.task
    def other() -> str:
        return "other"

    worker = start(2)
    results = [store.delay() for _ in range(49)]
    until(lambda: len(worker._consumer.batches) == 49, "gathering")
    assert worker.stats()["running"] == 0
    assert other.delay().get(timeout=60) == "other"
    results.append(store.delay())
    assert running.wait(60)
    assert worker.stats()["running"] == 1
    assert other.delay().get(timeout=60) == "other"
    release.set()
    assert [result.get(timeout=60) for result in results] == [50] * 50


def test_what_is_gathered_is_run_when_the_worker_stops(app: GreenQ, start: Any) -> None:
    @app.task(batch=Batch(size=50, seconds=3600))
    def store(requests: Any) -> Any:
        return [len(requests)] * len(requests)

    worker = start()
    results = [store.delay() for _ in range(7)]
    until(lambda: len(worker._consumer.batches) == 7, "gathering")
    assert worker.stop(30)
    assert [result.get(timeout=60) for result in results] == [7] * 7


def test_what_cannot_be_run_any_more_goes_back(app: GreenQ, start: Any) -> None:
    release = threading.Event()

    @app.task(batch=Batch(size=3, seconds=3600))
    def store(requests: Any) -> None:
        release.wait(60)

    worker = start(1)
    for _ in range(8):
        store.delay()
    until(lambda: worker.stats()["running"] == 1, "the first batch")
    assert not worker.stop(0.2)
    until(lambda: app.broker.depth()["celery"].ready == 8, "all of them")
    release.set()


def test_who_has_expired_or_cannot_be_read_takes_no_part(app: GreenQ, start: Any) -> None:
    seen: list[Any] = []

    @app.task(batch=QUICK)
    def store(requests: Any) -> None:
        seen.extend(request.args[0] for request in requests)

    late = store.apply_async(("late",), expires=0.01)
    broken = app.composer.compose(store.name, ("broken",), {})
    broken.body = b"{"
    app.broker.publish([broken], 10)
    fine = store.delay("fine")
    time.sleep(0.02)
    start()
    fine.get(timeout=60)
    late.get(timeout=60, propagate=False)
    assert late.state == "REVOKED"
    until(lambda: app.broker.depth()["celery"].dead == 1, "the dead letter")
    assert seen == ["fine"]


def test_at_most_once_is_acknowledged_before_the_batch_starts(app: GreenQ, start: Any) -> None:
    leased: list[int] = []

    @app.task(batch=QUICK, acks_late=False)
    def store(requests: Any) -> Any:
        leased.append(app.broker.depth()["celery"].leased)
        return [1 for _ in requests]

    results = [store.delay() for _ in range(10)]
    start()
    assert [result.get(timeout=60) for result in results] == [1] * 10
    assert leased[0] == 0


def test_a_call_alone_and_an_eager_one_are_a_batch_of_one(app: GreenQ) -> None:
    @app.task(batch=QUICK, max_retries=1)
    def store(requests: Any) -> Any:
        (request,) = requests
        if request.retries == 0 and request.args[0] == "again":
            request.retry(countdown=0)
        return [(request.args[0], request.retries)]

    assert store.apply(("a",)).get() == ("a", 0)
    assert store.apply(("again",)).get() == ("again", 1)


@pytest.mark.parametrize(
    "values", [{"size": 0}, {"size": 1.5}, {"seconds": -1}, {"seconds": "1"}, {"size": True}]
)
def test_a_batch_that_cannot_be_is_refused(values: Any) -> None:
    with pytest.raises(InvalidOption, match="Batch: "):
        Batch(**values)
    with pytest.raises(InvalidOption, match="must be a greenq"):
        GreenQ(broker="memory://").task(batch=10)(lambda: None)  # type: ignore[call-overload]


PROGRAM = """
import os, sys, time
from greenq import Batch, GreenQ
app = GreenQ("batched", broker="sqlite:///q.db", results="sqlite:///q.db", worker={"lease": "2s"})

@app.task(name="store", batch=Batch(size=20, seconds=0.5))
{define} store(requests):
    open("runs", "a").write(f"{len(requests)} {' '.join(str(r.args[0]) for r in requests)}\\n")
    if not os.path.exists("died") and os.path.exists("die"):
        open("died", "w").close()
        os.kill(os.getpid(), 9)
    return [r.args[0] * 2 for r in requests]
"""


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "threads", "prefork", "solo", "asyncio"])
def test_batches_run_on_every_pool(pool: str, tmp_path: Path) -> None:
    (tmp_path / "batched.py").write_text(
        PROGRAM.replace("{define}", "async def" if pool == "asyncio" else "def")
    )
    send = "import batched\nprint([batched.store.delay(n).id for n in range(30)])"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, timeout=60, check=True)
    run = subprocess.run(
        [sys.executable, "-m", "greenq", "worker", "-A", "batched", "-P", pool, "--burst"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in (tmp_path / "runs").read_text().splitlines()]
    assert sorted(int(n) for line in lines for n in line[1:]) == list(range(30))
    assert len(lines) < 30


def test_after_a_death_all_of_a_batch_come_again_and_none_is_lost(tmp_path: Path) -> None:
    (tmp_path / "batched.py").write_text(PROGRAM.replace("{define}", "def"))
    (tmp_path / "die").touch()
    send = "import batched\n[batched.store.apply_async((n,), task_id=f'id-{n}') for n in range(12)]"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, timeout=60, check=True)
    run = subprocess.run(
        [sys.executable, "-m", "greenq", "worker", "-A", "batched", "-P", "threads", "--burst"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (tmp_path / "died").exists(), run.stderr
    read = "import batched\nprint([batched.app.AsyncResult(f'id-{n}').get(timeout=60) for n in range(12)])"
    found = subprocess.run(
        [sys.executable, "-c", read], cwd=tmp_path, timeout=60, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == str([n * 2 for n in range(12)])
