"""`delay()` has been confirmed by the broker when it returns, or raises an error that says what happened."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from greenq import GreenQ
from greenq.amqp import methods
from greenq.brokers import connect
from greenq.brokers.amqp import AmqpBroker
from greenq.errors import BrokerUnreachable, PublishError, PublishTimeout
from tests.rabbit import shared_rabbit
from tests.servers import Proxy, free_port, shared_redis, start_redis

PATIENCE = 60.0
ROOT = Path(__file__).parents[3]
SENDER = """
import os, sys
from greenq import GreenQ
app = GreenQ("shop", broker=sys.argv[1], results=None)
work = app.task(name="shop.work")(len)
for number in range(100):
    work.delay(number)
os._exit(0)  # nothing that is still under way gets out
"""


def make_app(url: str, **settings: float) -> GreenQ:
    app = GreenQ("shop", broker={"url": url, **settings}, results=None)
    app.task(name="shop.work")(len)
    return app


def send(app: GreenQ, count: int, text: str) -> None:
    for _ in range(count):
        app.tasks["shop.work"].delay(text)


@pytest.fixture(params=["redis", "rabbitmq", "quorum", "sqlite", "filesystem", "sqla"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "redis": lambda: shared_redis().empty(),
        "rabbitmq": lambda: shared_rabbit().empty(),
        "quorum": lambda: f"{shared_rabbit().empty()}?queue_type=quorum",
        "sqlite": lambda: f"sqlite:///{tmp_path}/queue.db",
        "filesystem": lambda: f"filesystem://{tmp_path}",
        "sqla": lambda: f"sqla+sqlite:///{tmp_path}/kombu.db",
    }[request.param]()


def test_what_was_sent_is_there_though_its_sender_ends_at_once(url: str) -> None:
    subprocess.run(
        [sys.executable, "-c", SENDER, url],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=PATIENCE, check=True,
    )  # fmt: skip
    with connect(url) as broker:
        broker.expect(["celery"])
        assert broker.depth()["celery"].ready == 100


@pytest.fixture(params=["redis", "rabbitmq"])
def proxied(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, str]]:
    url = shared_redis().empty() if request.param == "redis" else shared_rabbit().empty()
    parts = urlsplit(url)
    assert parts.port is not None
    proxy = Proxy(parts.port)
    yield proxy, url.replace(f":{parts.port}/", f":{proxy.port}/")
    proxy.close()


def test_a_confirmation_that_is_late_is_a_timeout_and_the_call_may_have_arrived(
    proxied: tuple[Proxy, str],
) -> None:
    proxy, url = proxied
    app = make_app(url, publish_timeout=0.5)
    app.tasks["shop.work"].delay("first")
    proxy.mute = True
    started = time.monotonic()
    with pytest.raises(PublishTimeout, match="may have arrived"):
        app.tasks["shop.work"].delay("second")
    assert time.monotonic() - started < 10.0
    app.close()


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_not_there_is_unreachable(scheme: str) -> None:
    app = make_app(f"{scheme}://127.0.0.1:{free_port()}", publish_timeout=2.0)
    with pytest.raises(BrokerUnreachable, match="nobody answers"):
        app.tasks["shop.work"].delay("anyone?")
    app.close()


class TestRedis:
    def test_a_call_that_no_list_can_take_is_refused(self) -> None:
        url = shared_redis().empty()
        shared_redis().do("SET", "celery", "not a list", url=url)
        app = make_app(url)
        with pytest.raises(PublishError, match="another kind of value") as refused:
            app.tasks["shop.work"].delay("there")
        assert not isinstance(refused.value, PublishTimeout)
        app.close()

    def test_a_full_server_refuses(self) -> None:
        server = start_redis("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
        app = make_app(server.url)
        with pytest.raises(PublishError, match="memory"):
            send(app, 100, "x" * 100_000)
        app.close()
        server.stop()


class TestRabbitMQ:
    def test_a_call_whose_queue_is_gone_is_unroutable(self) -> None:
        url = shared_rabbit().empty()
        app = make_app(url)
        app.tasks["shop.work"].delay("there")
        broker = app.broker
        assert isinstance(broker, AmqpBroker)
        deadline = time.monotonic() + PATIENCE
        broker._publisher.line.session(deadline).together([methods.delete_queue(1, "celery")], deadline)
        with pytest.raises(PublishError, match=r"celery.*") as refused:
            app.tasks["shop.work"].delay("gone")
        assert not isinstance(refused.value, PublishTimeout)
        app.tasks["shop.work"].delay("made again")
        app.close()

    def test_a_call_that_a_full_queue_rejects_is_refused(self) -> None:
        url = shared_rabbit().empty()
        vhost = url.rpartition("/")[2]
        shared_rabbit().control(
            "set_policy", "-p", vhost, "full", "^celery$", '{"max-length": 1, "overflow": "reject-publish"}'
        )
        app = make_app(url)
        with pytest.raises(PublishError, match=r"refused|full") as refused:
            send(app, 3, "one too many")
        assert not isinstance(refused.value, PublishTimeout)
        app.close()
