"""A real worker on a real RabbitMQ: its connections, its idleness, its deaths, and the server's."""

from __future__ import annotations

import signal
import threading
import time

import psutil
import pytest

from greenq import GreenQ
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
from tests.rabbit import shared_rabbit, start_rabbitmq
from tests.servers import Proxy
from tests.waiting import PATIENCE, until

QUEUE = greenq_side.QUEUE


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
        answers_at_once(app)
    app.close()


def test_a_killed_worker_process_loses_nothing() -> None:
    url = shared_rabbit().empty()
    app = greenq_side.make(url, "rpc://")
    with greenq_worker(url, "rpc://", concurrency=100) as process:
        with_killed_processes(app, process)
        until(lambda: left(app) == Depth(), "the end of all deliveries")
    app.close()


def test_a_worker_survives_fifty_lost_connections() -> None:
    url = shared_rabbit().empty()
    proxy = Proxy(shared_rabbit().port)
    app = greenq_side.make(url, "rpc://")
    through = url.replace(f":{shared_rabbit().port}/", f":{proxy.port}/")
    with greenq_worker(through, "rpc://", concurrency=1000) as process:
        with_lost_connections(app, proxy)
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
