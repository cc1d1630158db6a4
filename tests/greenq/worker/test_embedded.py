"""A worker inside somebody else's program patches nothing, takes no signals and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from greenq import GreenQ, Worker
from greenq.errors import ConfigError, NotPatched
from pools import create
from tests.waiting import PATIENCE, until

A_HUNDRED_TIMES = """
import gevent.monkey
gevent.monkey.patch_all()
import gc, os, signal, threading
import gevent, greenlet, pools
from greenq import GreenQ, Worker

app = GreenQ("shop", broker="sqlite:///embedded.db", results="sqlite:///embedded.db", worker={"lease": "5s"})

@app.task
def add(x, y):
    gevent.sleep(0.001)
    return x + y

def sizes():
    gc.collect()
    greenlets = sum(isinstance(o, greenlet.greenlet) and not o.dead for o in gc.get_objects())
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), greenlets

def handlers():
    return [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)]

before_all = handlers()
with pools.create("gevent", capacity=10) as pool:
    for n in range(100):
        worker = Worker(app, pool=pool)
        worker.start()
        assert add.delay(n, 1).get(timeout=30) == n + 1
        assert worker.stop(timeout=10)
        if n == 10:
            before = sizes()
    after = sizes()
    assert pool.busy == 0
    assert pool.spawn(lambda: None)
assert handlers() == before_all
assert all(late <= early + 3 for early, late in zip(before, after)), (before, after)
print("flat", before, after)
"""


def test_a_worker_starts_and_stops_a_hundred_times_in_a_gevent_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", A_HUNDRED_TIMES], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("flat")


def test_an_unpatched_process_gets_the_pool_but_not_the_worker() -> None:
    app = GreenQ("shop", broker="memory://unpatched", results="memory://unpatched")
    with create("gevent", capacity=2) as pool:
        with pytest.raises(NotPatched, match=r"socket.*threading"):
            Worker(app, pool=pool)
        ended = []
        pool.spawn(ended.append, 1)
    assert ended == [1]


def test_a_worker_runs_on_threads_in_a_plain_process() -> None:
    app = GreenQ("shop", broker="memory://plain", results="memory://plain")

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with create("threads", capacity=2) as pool:
        worker = Worker(app, pool=pool)
        worker.start()
        assert add.delay(1, 2).get(timeout=10) == 3
        assert worker.stop(timeout=10)
        assert worker.stats()["committed"] == 1
        assert worker.stop()


def test_a_worker_that_is_stopped_gives_back_what_it_has_not_begun() -> None:
    app = GreenQ("shop", broker="memory://back", results="memory://back", worker={"prefetch": 5})

    @app.task
    def nap(seconds: float) -> None:
        pool.sleep(seconds)

    with create("threads", capacity=1) as pool:
        worker = Worker(app, pool=pool)
        for _ in range(4):
            nap.delay(0.3)
        worker.start()
        while not app.broker.depth()["celery"].leased:
            pool.sleep(0.01)
        worker.stop(timeout=10)
    depth = app.broker.depth()["celery"]
    assert depth.leased == 0
    assert depth.ready >= 2


def test_a_pool_of_processes_needs_to_know_where_the_application_is() -> None:
    app = GreenQ("shop", broker="memory://p", results="memory://p", worker={"pool": "prefork"})
    with pytest.raises(ConfigError, match="app: module:attribute"):
        Worker(app)


@pytest.mark.parametrize("waiting", [False, True])
def test_a_stop_from_several_threads_and_from_a_task_is_one_stop(waiting: bool) -> None:
    app = GreenQ("shop", broker=f"memory://stops-{waiting}", results=None)
    ended = []

    def stop() -> None:
        ended.append(worker.stop(0.2))

    @app.task
    def end() -> None:
        if waiting:
            stop()
        else:
            threading.Thread(target=stop).start()

    with create("threads", capacity=2) as pool:
        worker = Worker(app, pool=pool)
        worker.start()
        end.delay()
        until(lambda: worker.stats()["started"] == 1)
        others = [threading.Thread(target=stop) for _ in range(3)]
        for other in others:
            other.start()
        for other in others:
            other.join(PATIENCE)
            assert not other.is_alive()
        until(lambda: len(ended) == 4)
    assert app.broker.depth()["celery"].leased == 0
    assert ended == [not waiting] * 4


def test_an_embedded_worker_whose_consumer_fails_gives_everything_back() -> None:
    app = GreenQ("shop", broker="memory://fails", results=None, worker={"prefetch": 5})

    @app.task
    def nothing() -> None:
        pass

    with create("threads", capacity=2) as pool:
        worker = Worker(app, pool=pool)

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("no thread can be started")

        pool.spawn = broken
        for _ in range(4):
            nothing.delay()
        worker.start()
        until(lambda: worker._end is not None and worker._end.join(1), what="it ends by itself")
    depth = app.broker.depth()["celery"]
    assert (depth.ready, depth.leased) == (4, 0)


def test_a_worker_that_is_refused_leaves_no_pool_behind() -> None:
    app = GreenQ("shop", broker="memory://refused", results=None, worker={"pool": "threads"})

    @app.task(time_limit=1)
    def limited() -> None:
        pass

    before = threading.active_count()
    with pytest.raises(ConfigError, match="time_limit"):
        Worker(app)
    assert threading.active_count() <= before
