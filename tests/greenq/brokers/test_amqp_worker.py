"""A real worker on a real RabbitMQ: its connections, its idleness, its deaths, and the server's."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from greenq import GreenQ
from greenq.errors import GreenqError, PublishTimeout
from greenq.message import Depth
from tests.greenq.interop import greenq_side
from tests.greenq.interop.sides import greenq_worker
from tests.rabbit import shared_rabbit, start_rabbitmq
from tests.servers import Proxy

PATIENCE = 60.0
QUEUE = greenq_side.QUEUE


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)


def send(app: GreenQ, count: int, start: int = 0) -> list[str]:
    add = app.tasks["interop.add"]
    return [result.id for result in app.send_many(add.call(start + n, 1) for n in range(count))]


def results(app: GreenQ, names: list[str]) -> dict[str, object]:
    assert app.results is not None
    return {
        id: found.value for id, found in app.results.get(names, PATIENCE).items() if found.state == "SUCCESS"
    }


def left(app: GreenQ) -> Depth:
    app.broker.expect([QUEUE])
    return app.broker.depth()[QUEUE]


def connections(url: str) -> int:
    listed = shared_rabbit().control("list_connections", "vhost")
    return listed.split("\n").count(url.rpartition("/")[2])


@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_a_worker_holds_few_connections_however_much_it_does(pool: str) -> None:
    url = shared_rabbit().empty()
    app = greenq_side.make(url, "rpc://")
    with greenq_worker(url, "rpc://", pool=pool, concurrency=1000):
        names = send(app, 5000)
        until(lambda: len(results(app, names)) == 5000, "the end of the work")
        own = 2  # the test publishes over one and hears replies over the other
        assert connections(url) - own <= 3
    app.close()


def test_an_idle_worker_does_nothing_and_is_there_at_once() -> None:
    url = shared_rabbit().empty()
    app = greenq_side.make(url, "rpc://")
    with greenq_worker(url, "rpc://", concurrency=1000) as process:
        assert app.tasks["interop.add"].delay(1, 1).get(timeout=PATIENCE) == 2
        [child] = psutil.Process(process.pid).children()
        time.sleep(1.0)
        used = sum(child.cpu_times()[:2])
        time.sleep(8.0)
        assert sum(child.cpu_times()[:2]) - used < 0.01 * 8 + 0.03
        trips = []
        for number in range(20):
            started = time.perf_counter()
            app.tasks["interop.add"].delay(number, 1).get(timeout=PATIENCE)
            trips.append(time.perf_counter() - started)
        assert sorted(trips)[10] < 0.2, trips
    app.close()


def test_a_killed_worker_process_loses_nothing() -> None:
    url = shared_rabbit().empty()
    app = greenq_side.make(url, "rpc://")
    with greenq_worker(url, "rpc://", concurrency=100) as process:
        names: list[str] = []
        for round_ in range(4):
            names += send(app, 500, round_ * 500)
            time.sleep(0.05 * round_)
            for child in psutil.Process(process.pid).children():
                os.kill(child.pid, signal.SIGKILL)
            until(lambda: psutil.Process(process.pid).children(), "the supervisor's replacing it")
        until(lambda: len(results(app, names)) == 2000, "the end of the work")
        assert sorted(int(str(v)) for v in results(app, names).values()) == list(range(1, 2001))
        until(lambda: left(app) == Depth(), "the end of all deliveries")
    app.close()


def test_a_worker_survives_fifty_lost_connections() -> None:
    url = shared_rabbit().empty()
    proxy = Proxy(shared_rabbit().port)
    app = greenq_side.make(url, "rpc://")
    through = url.replace(f":{shared_rabbit().port}/", f":{proxy.port}/")
    with greenq_worker(through, "rpc://", concurrency=1000) as process:
        names: list[str] = []
        for round_ in range(50):
            names += send(app, 60, round_ * 60)
            proxy.cut()
            time.sleep(0.03)
        until(lambda: len(results(app, names)) == 3000, "the end of the work")
        until(lambda: left(app) == Depth(), "the end of all deliveries")
        assert process.poll() is None
    app.close()
    proxy.close()


def test_a_worker_survives_restarts_of_the_server() -> None:
    server = start_rabbitmq()
    url = server.url
    app = greenq_side.make(url, "rpc://")
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
            time.sleep(0.005)

    with greenq_worker(url, "rpc://", concurrency=50):
        producer = threading.Thread(target=produce, daemon=True)
        producer.start()
        for _ in range(2):
            time.sleep(0.7)
            server.kill()
            server.start()
        time.sleep(1.0)
        stop.set()
        producer.join(PATIENCE)
        assert len(sent) > 20
        until(lambda: left(app) == Depth(), "the end of the work")
        missing = set(sent) - set(results(app, sent))
        until(lambda: not set(sent) - set(results(app, sent)), f"the reply to {missing}")
    app.close()
    server.stop()


def test_a_worker_that_is_asked_to_stop_gives_everything_back() -> None:
    url = shared_rabbit().empty()
    app = greenq_side.make(url, "rpc://")
    with greenq_worker(url, "rpc://", concurrency=10) as process:
        names = send(app, 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    until(lambda: left(app) == Depth(ready=200 - len(results(app, names))), "the return of the others")
    app.close()
