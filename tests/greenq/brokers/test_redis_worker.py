"""A real worker on a real Redis: its connections, its idleness, its deaths, and the server's."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from greenq.errors import GreenqError, PublishTimeout
from greenq.message import Depth
from tests.greenq.brokers.workload import (
    answers_at_once,
    results,
    send,
    with_killed_processes,
    with_lost_connections,
)
from tests.greenq.interop import greenq_side
from tests.greenq.interop.sides import greenq_worker
from tests.servers import Proxy, start_redis
from tests.waiting import PATIENCE, until


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_holds_few_connections_however_much_it_does(pool: str) -> None:
    server = start_redis()
    app = greenq_side.make(server.url, server.url)
    with greenq_worker(server.url, server.url, pool=pool, concurrency=1000):
        most = 0
        names: list[str] = []
        for batch in range(5):
            names += send(app, 1000, batch * 1000)
            most = max(most, server.connections())
        until(lambda: len(results(app, names)) == 5000, "the end of the work")
        most = max(most, server.connections())
        own = 2  # the test's broker and result store
        assert most - own <= 5
    app.close()
    server.stop()


def test_an_idle_worker_asks_almost_nothing_and_is_there_at_once() -> None:
    server = start_redis()
    app = greenq_side.make(server.url, server.url)
    with greenq_worker(server.url, server.url, concurrency=1000) as process:
        assert app.tasks["interop.add"].delay(1, 1).get(timeout=PATIENCE) == 2
        [child] = psutil.Process(process.pid).children()
        time.sleep(1.0)
        calls, used = server.calls(), sum(child.cpu_times()[:2])
        time.sleep(8.0)
        assert server.calls() - calls < 8 * 8  # leases, the turn of the loop, and nothing else
        assert sum(child.cpu_times()[:2]) - used < 0.01 * 8 + 0.03
        answers_at_once(app)
    app.close()
    server.stop()


def test_a_killed_worker_process_loses_nothing() -> None:
    server = start_redis()
    app = greenq_side.make(server.url, server.url)
    with greenq_worker(server.url, server.url, concurrency=100) as process:
        with_killed_processes(app, process)
    assert app.broker.depth()["to-greenq"] == Depth()
    app.close()
    server.stop()


def test_a_worker_survives_restarts_of_the_server() -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    app = greenq_side.make(server.url, server.url)
    sent: list[str] = []
    stop = threading.Event()

    def produce() -> None:
        number = 0
        while not stop.is_set():
            try:
                sent.append(app.tasks["interop.add"].delay(number, 0).id)
            except PublishTimeout:
                pass  # it may have arrived: not counted on
            except GreenqError:
                time.sleep(0.05)
            number += 1
            time.sleep(0.002)

    with greenq_worker(server.url, server.url, concurrency=50):
        producer = threading.Thread(target=produce)
        producer.start()
        for _ in range(4):
            time.sleep(0.7)
            server.kill()
            time.sleep(0.2)
            server.start()
        time.sleep(0.5)
        stop.set()
        producer.join(PATIENCE)
        assert len(sent) > 100
        until(lambda: len(results(app, sent)) == len(sent), "the end of the work")
    app.close()
    server.stop()


def test_a_worker_survives_fifty_lost_connections() -> None:
    server = start_redis()
    proxy = Proxy(server.port)
    app = greenq_side.make(server.url, server.url)
    through = f"redis://127.0.0.1:{proxy.port}"
    with greenq_worker(through, through, concurrency=1000) as process:
        with_lost_connections(app, proxy)
        until(lambda: app.broker.depth()["to-greenq"] == Depth(), "the end of the leases")
        assert process.poll() is None
    app.close()
    proxy.close()
    server.stop()


def test_a_task_that_blocks_its_hub_for_several_leases_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENQ_WORKER_LEASE", "1s")
    monkeypatch.setenv("INTEROP_LEDGER", str(tmp_path))
    server = start_redis()
    app = greenq_side.make(server.url, server.url)
    with greenq_worker(server.url, server.url), greenq_worker(server.url, server.url):
        app.tasks["interop.spin"].delay(5.0).get(timeout=PATIENCE)
        time.sleep(1.0)
    assert [page.read_text() for page in tmp_path.iterdir()] == ["0\n"]
    app.close()
    server.stop()


def test_a_worker_that_is_asked_to_stop_leaves_no_lease() -> None:
    server = start_redis()
    app = greenq_side.make(server.url, server.url)
    with greenq_worker(server.url, server.url, concurrency=10) as process:
        names = send(app, 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    done = len(results(app, names))
    assert app.broker.depth()["to-greenq"] == Depth(ready=200 - done)
    assert server.do("HLEN", "greenq.processes") == 0
    app.close()
    server.stop()
