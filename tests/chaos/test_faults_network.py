"""What a network does to brokers and stores: each call ends in time, with words, and the next one works."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from greenq.amqp import doubt
from greenq.brokers.amqp import AmqpBroker
from greenq.brokers.base import Broker
from greenq.brokers.redis import RedisBroker
from greenq.errors import BrokerError, BrokerUnreachable, GreenqError, PublishTimeout
from greenq.redis import subscriber
from greenq.results.redis import RedisStore
from greenq.testing.messages import PATIENCE, ids, make
from greenq.testing.payloads import decode, encode, encoded
from tests.chaos.proxy import FaultProxy
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis, start_redis

NOTICED_WITHIN = 20.0
"""Seconds until a connection that the network has forgotten is left, on a busy machine; deadlines here are
longer."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait as long as the real thing does before it asks a silent server."""
    monkeypatch.setattr(doubt, "AFTER", 1.0)
    monkeypatch.setattr(doubt, "PATIENCE", 2.0)
    monkeypatch.setattr(subscriber, "LOOK_EVERY", 1.5)


def redis() -> tuple[FaultProxy, RedisBroker]:
    proxy = FaultProxy(shared_redis().port)
    database = shared_redis().empty().rpartition("/")[2]
    return proxy, RedisBroker(f"redis://127.0.0.1:{proxy.port}/{database}")


def amqp() -> tuple[FaultProxy, AmqpBroker]:
    proxy = FaultProxy(shared_rabbit().port)
    vhost = shared_rabbit().empty().rpartition("/")[2]
    return proxy, AmqpBroker(f"amqp://guest:guest@127.0.0.1:{proxy.port}/{vhost}")


@pytest.fixture(params=[redis, amqp], ids=["redis", "amqp"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[FaultProxy, Broker]]:
    make_place: Callable[[], tuple[FaultProxy, Broker]] = request.param
    proxy, broker = make_place()
    with broker:
        broker.lease("process", 60.0)
        assert broker.publish([make("first")], PATIENCE) == [None]
        assert ids(broker.fetch(["q"], 1, PATIENCE)) == ["first"]
        yield proxy, broker
    proxy.close()


def forget(proxy: FaultProxy, seconds: float = 0.3) -> threading.Timer:
    """Let the network forget the connections that are used in the next moments."""
    proxy.swallow()
    healing = threading.Timer(seconds, proxy.heal)
    healing.start()
    return healing


def test_a_publish_leaves_a_connection_that_the_network_forgot(place: tuple[FaultProxy, Broker]) -> None:
    proxy, broker = place
    forget(proxy)
    began = time.monotonic()
    [error] = broker.publish([make("swallowed")], 60.0)
    assert isinstance(error, PublishTimeout)
    assert "may have arrived" in str(error)
    assert time.monotonic() - began < NOTICED_WITHIN
    assert broker.publish([make("next")], PATIENCE) == [None]


def test_a_fetch_leaves_a_connection_that_the_network_forgot(place: tuple[FaultProxy, Broker]) -> None:
    proxy, broker = place
    broker.publish([make("second")], PATIENCE)
    forget(proxy)
    began = time.monotonic()
    found: list[str] = []
    while not found and time.monotonic() < began + 60.0:
        try:
            found = ids(broker.fetch(["q"], 1, 5.0))
        except BrokerError:
            continue
    assert found == ["second"]
    assert time.monotonic() - began < NOTICED_WITHIN


def test_sending_into_a_black_hole_ends_at_its_deadline(place: tuple[FaultProxy, Broker]) -> None:
    proxy, broker = place
    proxy.swallow()
    for number in range(3):
        began = time.monotonic()
        try:
            errors = broker.publish([make(str(number))], 1.0)
        except BrokerUnreachable as error:
            errors = [error]
        [problem] = errors
        assert isinstance(problem, GreenqError)
        assert time.monotonic() - began < 1.0 + PATIENCE / 3


def test_a_connection_cut_in_the_middle_of_an_answer_is_left(place: tuple[FaultProxy, Broker]) -> None:
    proxy, broker = place
    proxy.truncate(5)
    errors: list[object] = []
    for _ in range(5):
        try:
            errors += broker.publish([make("cut")], 1.0)
        except BrokerUnreachable as error:
            errors.append(error)
    assert all(isinstance(error, GreenqError) for error in errors)
    proxy.heal()
    assert broker.publish([make("whole")], PATIENCE) == [None]


def test_a_busy_server_is_not_taken_for_a_lost_connection() -> None:
    server = start_redis()
    with RedisBroker(server.url) as broker:
        assert broker.publish([make("before")], PATIENCE) == [None]
        server.process.send_signal(signal.SIGSTOP)
        going_on = threading.Timer(4.0, server.process.send_signal, [signal.SIGCONT])
        going_on.start()
        assert broker.publish([make("meanwhile")], PATIENCE) == [None]
        going_on.join()
        # A script that runs for long answers nobody else either.
        slow = "local t = redis.call('TIME')[1] while redis.call('TIME')[1] - t < 4 do end"
        client = broker.client
        running = threading.Thread(
            target=lambda: client.do("EVAL", slow, 0, deadline=time.monotonic() + PATIENCE)
        )
        running.start()
        running.join(0.2)
        with RedisBroker(server.url) as other:
            assert other.publish([make("beside")], PATIENCE) == [None]
        running.join(PATIENCE)
    server.stop()


def test_whoever_waits_for_a_result_leaves_a_connection_that_the_network_forgot() -> None:
    proxy = FaultProxy(shared_redis().port)
    database = shared_redis().empty().rpartition("/")[2]
    store = RedisStore(f"redis://127.0.0.1:{proxy.port}/{database}", encode, decode)
    direct = RedisStore(f"{shared_redis().url}/{database}", encode, decode)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.extend(store.wait(["one"], 60.0)))
    waiting.start()
    deadline = time.monotonic() + PATIENCE
    while not proxy.connections():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    healing = forget(proxy, 1.0)
    direct.put([encoded(direct, "one", value=1)], PATIENCE)
    healing.join()
    waiting.join(PATIENCE)
    assert found == ["one"]
    store.close()
    direct.close()
    proxy.close()
