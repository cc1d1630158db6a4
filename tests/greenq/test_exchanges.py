"""Queues on exchanges and broadcasts, on a real Redis and a real RabbitMQ, beside kombu's own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from kombu.common import Broadcast

from greenq import GreenQ, InvalidOption, PublishError, Worker
from greenq.brokers.base import Broker
from greenq.errors import BrokerError, ConfigError
from greenq.exchanges import matches, pattern_of
from greenq.message import Delivery, Outcome, Settlement, Verdict
from pools import table
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis
from tests.waiting import until

QUEUES = {
    "video": {"exchange": "media", "exchange_type": "topic", "routing_key": "media.video"},
    "audit": {"exchange": "media", "exchange_type": "topic", "routing_key": "#", "bindings": ["other.*"]},
    "orders": {"exchange": "shop", "routing_key": "order"},
    "copies": {"exchange": "shop", "routing_key": "order"},
    "left": {"exchange": "both", "exchange_type": "fanout"},
    "right": {"exchange": "both", "exchange_type": "fanout"},
    "news": {"broadcast": True},
}

Make = Callable[..., GreenQ]


@pytest.fixture(params=["redis", "rabbit"])
def url(request: pytest.FixtureRequest) -> str:
    return shared_redis().empty() if request.param == "redis" else shared_rabbit().empty()


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    made: list[GreenQ] = []

    def make(**settings: Any) -> GreenQ:
        app = GreenQ("shop", broker=url, results=None, **{"queues": QUEUES, **settings})
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


def ready(broker: Broker, *queues: str) -> list[int]:
    depth = broker.depth()
    return [depth[queue].ready if queue in depth else 0 for queue in queues]


def take(broker: Broker, queues: list[str], count: int = 1) -> list[Delivery]:
    found: list[Delivery] = []
    until(lambda: found.extend(broker.fetch(queues, count, 0.5)) or len(found) >= count, "messages")
    assert all(broker.settle([Settlement(one, Verdict.ACK) for one in found], 10.0))
    return found


def test_a_topic_exchange_finds_all_queues_whose_patterns_fit(make: Make) -> None:
    app = make()
    app.broker.declare(["video", "audit"])
    app.send_task("a", queue="video")
    app.send_task("b", exchange="media", routing_key="media.audio")
    app.broker.lease("one", 15.0)
    assert [one.message.headers["task"] for one in take(app.broker, ["video"]) if one.message] == ["a"]
    both = take(app.broker, ["audit"], 2)
    assert {one.message.headers["task"] for one in both if one.message} == {"a", "b"}
    assert ready(app.broker, "video", "audit") == [0, 0]


def test_a_direct_exchange_finds_all_queues_with_the_key_and_a_queue_alone_is_sent_to_straight(
    make: Make,
) -> None:
    app = make()
    app.broker.declare(["orders", "copies"])
    app.send_task("a", exchange="shop", routing_key="order")
    app.send_task("b", queue="orders")
    until(lambda: ready(app.broker, "orders", "copies") == [2, 1])


def test_a_fanout_exchange_fills_every_queue(make: Make) -> None:
    app = make()
    app.broker.declare(["left", "right"])
    app.send_task("a", exchange="both")
    app.send_task("b", queue="left")
    until(lambda: ready(app.broker, "left", "right") == [2, 2])


def test_a_message_for_nobody_is_an_error(make: Make) -> None:
    app = make()
    app.broker.declare(["orders"])
    with pytest.raises(PublishError, match="order-form"):
        app.send_task("a", exchange="shop", routing_key="order-form")
    assert ready(app.broker, "orders") == [0]


def test_a_call_waits_for_its_time_before_an_exchange_gets_it(make: Make) -> None:
    app = make()
    app.broker.declare(["video", "audit"])
    app.broker.lease("one", 15.0)
    before = time.time()
    app.send_task("a", queue="video", countdown=1)
    for queue in ("video", "audit"):
        take(app.broker, [queue])
        assert time.time() >= before + 1


def test_a_broadcast_reaches_each_node_once_and_waits_for_it_there(make: Make) -> None:
    apps = [make(), make()]
    own = []
    for number, app in enumerate(apps):
        app.broker.lease(f"process-{number}", 15.0)
        own.append(app.broker.attend("news", f"node-{number}", 10.0))
    sent = make()
    for number in range(5):
        sent.send_task("tell", [number], queue="news")
    for app, queue in zip(apps, own, strict=True):
        assert len(take(app.broker, [queue], 5)) == 5
    assert ready(sent.broker, "news") == [0]


def test_a_broadcast_that_nobody_hears_is_no_error(make: Make) -> None:
    make().send_task("tell", queue="news")


def test_every_worker_runs_what_is_broadcast_and_one_runs_the_rest() -> None:
    url = shared_redis().empty()
    ran: list[tuple[str, int]] = []
    with contextlib.ExitStack() as stack:
        for number in range(2):
            app = GreenQ("shop", broker=url, results=None, queues=QUEUES, worker={
                "queues": ["celery", "news"], "node": f"node-{number}",
            })  # fmt: skip

            @app.task(name="tell", bind=True)
            def tell(self: Any, n: int) -> None:
                ran.append((self.request.hostname, n))

            worker = Worker(app, stack.enter_context(table.create("threads", 2)))
            worker.start()
            stack.callback(app.close)
            stack.callback(worker.stop, 10)
        app.send_task("tell", [1], queue="news")
        app.send_task("tell", [2])
        until(lambda: len(ran) >= 3, "three runs")
        assert sorted(one for one in ran if one[1] == 1) == [("node-0", 1), ("node-1", 1)]
        assert len(ran) == 3
        assert ready(app.broker, "celery", "bcast.news.node-0") == [0, 0]


def test_kombus_side_hears_what_greenq_broadcasts_and_the_other_way_round(make: Make, url: str) -> None:
    app = make()
    app.broker.lease("one", 15.0)
    own = app.broker.attend("news", "node", 10.0)
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        queue = Broadcast("news", routing_key="celery")(channel)
        heard: list[Any] = []
        with kombu.Consumer(channel, [queue], callbacks=[lambda body, message: heard.append(message)]):

            def listen() -> bool:
                app.send_task("tell", [1], queue="news")
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)
                return bool(heard)

            until(listen, "a broadcast")
            assert heard[0].headers["task"] == "tell"
            producer = kombu.Producer(channel)
            headers = {"task": "from kombu", "id": "1"}
            producer.publish([[2], {}, {}], exchange="news", routing_key="celery", headers=headers)
            seen: list[str] = []

            def hear() -> bool:
                for one in app.broker.fetch([own], 10, 0.5):
                    seen.append(one.message.headers["task"] if one.message else "")
                    app.broker.settle([Settlement(one, Verdict.ACK)], 10.0)
                return "from kombu" in seen

            until(hear, "kombu's broadcast")


def test_kombu_finds_the_bindings_that_greenq_makes(make: Make, url: str) -> None:
    app = make()
    app.broker.declare(["video", "audit", "orders"])
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        media = kombu.Exchange("media", type="topic")(channel)
        media.declare()
        kombu.Producer(channel, exchange=media).publish({}, routing_key="media.video")
    until(lambda: ready(app.broker, "video", "audit") == [1, 1])


def test_greenq_finds_the_bindings_that_kombu_makes(make: Make, url: str) -> None:
    app = make(queues={})
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        for name, key in (("k1", "a.*"), ("k2", "#"), ("k3", "b")):
            kombu.Queue(name, kombu.Exchange("theirs", type="topic"), routing_key=key)(channel).declare()
    app.send_task("a", exchange="theirs", routing_key="a.b")
    app.broker.expect(["k1", "k2", "k3"])
    until(lambda: ready(app.broker, "k1", "k2", "k3") == [1, 1, 0])


def test_what_a_task_sends_through_an_exchange_is_not_left_to_a_script_that_knows_no_exchanges() -> None:
    url = shared_redis().empty()
    app = GreenQ("shop", broker=url, results=url, queues=QUEUES)
    app.broker.declare(["orders", "copies"])
    app.broker.lease("one", 15.0)
    app.send_task("a", queue="celery")
    (delivery,) = app.broker.fetch(["celery"], 1, 10.0)
    child = app.composer.compose("b", (), {}, {"exchange": "shop", "routing_key": "order"})
    outcome = Outcome(delivery, (child,), None, Settlement(delivery, Verdict.ACK))
    assert app.results is not None
    assert app.results.commit(app.broker, [outcome], 10.0) is None
    app.close()


def test_a_headers_exchange_asks_for_headers_and_a_queue_is_declared_as_it_says() -> None:
    server = shared_rabbit()
    pdf = {"exchange": "files", "exchange_type": "headers", "binding_arguments": {"format": "pdf"}}
    brief = {"arguments": {"x-max-length": 1}, "auto_delete": True}
    app = GreenQ(broker=server.empty(), results=None, queues={"pdfs": pdf, "brief": brief})
    app.broker.declare(["pdfs", "brief"])
    app.send_task("a", queue="pdfs", headers={"format": "pdf"})
    with pytest.raises(PublishError, match="has no queue"):
        app.send_task("a", queue="pdfs", headers={"format": "png"})
    for _ in range(3):
        app.send_task("b", queue="brief")
    until(lambda: ready(app.broker, "pdfs", "brief") == [1, 1])
    app.close()


def test_an_exchange_that_is_not_there_or_of_another_type_is_an_error() -> None:
    address = shared_rabbit().empty()
    app = GreenQ(broker=address, results=None)
    with pytest.raises(PublishError, match="nowhere"):
        app.send_task("a", exchange="nowhere")
    app.close()
    with kombu.Connection(address) as connection:
        kombu.Exchange("theirs", type="topic")(connection.channel()).declare()
    queue = {"exchange": "theirs", "exchange_type": "fanout"}
    app = GreenQ(broker=address, results=None, queues={"q": queue})
    with pytest.raises(BrokerError, match="'q' cannot be used"):
        app.broker.declare(["q"])
    with pytest.raises(PublishError, match="theirs"):
        app.send_task("a", queue="q")
    app.close()


@pytest.mark.parametrize("address", ["memory://", "sqlite:///greenq.db"])
@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        ({"exchange": "e", "exchange_type": "topic"}, "no exchanges"),
        ({"broadcast": True}, "to every worker"),
        ({"arguments": {"x-max-length": 5}}, "all queues alike"),
    ],
)
def test_a_broker_without_exchanges_refuses_them(
    address: str, queue: Any, problem: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = GreenQ(broker=address, results=None, queues={"q": queue})
    with pytest.raises(ConfigError, match=f"queues.q: .*{problem}"):
        app.send_task("a")
    plain = GreenQ(broker=address, results=None)
    with pytest.raises(InvalidOption, match="has no exchanges"):
        plain.send_task("a", exchange="e")


def test_a_headers_exchange_is_refused_on_redis() -> None:
    app = GreenQ(
        broker="redis://localhost:1",
        results=None,
        queues={"q": {"exchange": "e", "exchange_type": "headers"}},
    )
    with pytest.raises(ConfigError, match="no headers exchanges"):
        app.send_task("a")


@pytest.mark.parametrize("key", ["a.*.b#", "mail.#", "x-_y.z", "*.q", "#", "ä.*"])
def test_patterns_are_kombus(key: str) -> None:
    from kombu.transport.virtual.exchange import TopicExchange

    assert pattern_of(key) == TopicExchange(None).key_to_pattern(key)


def test_a_strangers_pattern_that_cannot_be_read_lets_nothing_through() -> None:
    assert not matches("a", "^(", "a")
