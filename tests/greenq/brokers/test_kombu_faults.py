"""Brokers over kombu: their addresses, what they say when something is wrong, what they cost."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from greenq import brokers
from greenq.brokers import Broker, parking
from greenq.brokers.channel import Channel
from greenq.brokers.drivers import patience
from greenq.brokers.kombu import KombuBroker
from greenq.brokers.owner import Late, Owner
from greenq.brokers.transports import parse
from greenq.errors import BrokerError, BrokerUnreachable, ConfigError, PublishError
from greenq.message import Depth, Verdict
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take
from pools import native
from tests.backends import postgres
from tests.documents import blocks
from tests.servers import free_port

ROOT = Path(__file__).parents[3]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with brokers.connect(f"filesystem://{tmp_path}") as broker:
        broker.lease("one", 60.0)
        yield broker


class TestAddresses:
    def test_each_example_of_the_manual_is_one(self) -> None:
        page = (ROOT / "docs" / "transports.md").read_text()
        urls = [
            yaml.safe_load(block.text)["broker"]["url"] for block in blocks(page) if block.language == "yaml"
        ]
        assert len(urls) == 4
        for url in [*urls, "kombu+redis://localhost/0", "kombu+memory://"]:
            brokers.connect(url).close()

    def test_the_query_holds_the_transports_options(self) -> None:
        address = parse("sqs://key:pw@/?visibility_timeout=7200&is_secure=true&polling_interval=0.5")
        assert address.options == {"visibility_timeout": 7200, "is_secure": True, "wait_time_seconds": 0}
        assert (address.polling, address.url) == (0.5, "sqs://key:pw@/")
        assert "pw" not in repr(address)

    def test_a_databases_query_is_its_own(self) -> None:
        address = parse("sqla+postgresql+psycopg://u@h/db?sslmode=require")
        assert address.url == "sqla+postgresql+psycopg://u@h/db?sslmode=require"
        assert address.options == {"pool_pre_ping": True, "connect_args": patience("psycopg", ())}
        impatient = parse("sqla+postgresql+psycopg://u@h/db?connect_timeout=1").options["connect_args"]
        assert "connect_timeout" not in impatient
        assert impatient["tcp_user_timeout"] == 30000

    @pytest.mark.parametrize(
        ("url", "advice"),
        [
            ("filesystem://", "write filesystem:///var/spool/shop"),
            ("kombu+carrier-pigeon://loft", "kombu has no transport 'carrier-pigeon': there is"),
            ("filesystem:///tmp/x?polling_interval=often", "polling_interval is 'often': give seconds"),
            ("mongodb://localhost/shop", 'pip install "kombu[mongodb]"'),
        ],
    )
    def test_a_mistake_says_what_to_do(self, url: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pymongo", None)
        with pytest.raises(ConfigError) as caught:
            brokers.connect(url)
        assert advice in str(caught.value)


class TestFaults:
    def test_nobody_there_is_an_error_that_shows_no_password(self) -> None:
        url = f"sqla+postgresql+psycopg://shop:secret@127.0.0.1:{free_port()}/shop"
        with brokers.connect(url, PATIENCE) as broker:
            calls: list[Callable[[], Any]] = [
                broker.depth,
                lambda: broker.publish([make()], PATIENCE),
            ]
            for call in calls:
                with pytest.raises(BrokerUnreachable, match="cannot be reached") as caught:
                    call()
                assert "secret" not in str(caught.value)

    def test_a_server_that_says_nothing_is_an_error_in_time(self) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"sqla+postgresql+psycopg://shop@127.0.0.1:{mute.getsockname()[1]}/shop"
            broker = brokers.connect(url, 0.5)
            started = time.monotonic()
            with pytest.raises(BrokerUnreachable, match="did not answer within"):
                broker.depth()
            with pytest.raises(BrokerUnreachable):
                broker.publish([make()], 0.5)
            assert time.monotonic() - started < PATIENCE
        broker.close()

    def test_a_broker_goes_on_when_its_server_comes_back(self) -> None:
        server = postgres()
        url = f"sqla+{server.empty()}"
        with brokers.connect(url) as broker:
            broker.lease("one", 60.0)
            assert broker.publish(many(2), PATIENCE) == [None, None]
            [first] = take(broker, 1)
            server.query(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'".format(
                    url.rpartition("/")[2]
                ),
            )
            assert broker.publish([make("after")], PATIENCE) == [None]
            assert ids(take(broker, 2)) == ["1", "after"]
            assert settle(broker, [first], Verdict.REQUEUE) == [True]
            assert ids(take(broker, 1)) == ["0"]

    def test_an_envelope_that_cannot_be_read_is_dead_lettered_and_replayed_as_it_came(
        self, broker: Broker, tmp_path: Path
    ) -> None:
        (tmp_path / "1_x.q.msg").write_text(json.dumps({"body": "?", "who": "knows"}))
        [delivery] = take(broker, 1)
        assert delivery.message is None
        assert "cannot be read" in (delivery.problem or "")
        assert settle(broker, [delivery], Verdict.DEAD, reason="unreadable") == [True]
        [letter] = broker.dead()
        assert json.loads(letter.raw) == {"body": "?", "who": "knows"}
        assert broker.replay(letter.key)
        [path] = tmp_path.glob("*.q.msg")
        assert json.loads(path.read_text()) == {"body": "?", "who": "knows"}

    def test_a_name_too_long_for_kombus_tables_is_refused(self, broker: Broker) -> None:
        [error] = broker.publish([make("1", "x" * 151)], PATIENCE)
        assert isinstance(error, PublishError)
        assert "rename the queue" in str(error)


class TestErrorsMidway:
    """A transport that keeps nothing has forgotten what was taken when the next step fails."""

    def failing(self, monkeypatch: pytest.MonkeyPatch, method: str, calls: int) -> None:
        """Let one of the channel's methods fail once, after so many calls."""
        real = getattr(Channel, method)
        count = itertools.count()

        def fail(channel: Channel, *args: Any, **named: Any) -> Any:
            if next(count) == calls:
                raise OSError("the disk is full")
            return real(channel, *args, **named)

        monkeypatch.setattr(Channel, method, fail)

    def test_what_was_taken_before_an_error_comes_with_the_next_fetch(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.publish(many(3), PATIENCE)
        self.failing(monkeypatch, "pull", 2)
        with pytest.raises(BrokerUnreachable, match="the disk is full"):
            broker.fetch(["q"], 3, 0.0)
        assert broker.depth()["q"] == Depth(ready=1, leased=2)
        first = broker.fetch(["q"], 1, 0.0)
        assert ids(first) == ["0"]
        rest = [*take(broker, 1), *take(broker, 1)]
        assert ids(rest) == ["1", "2"]
        assert settle(broker, first + rest, Verdict.ACK) == [True, True, True]
        assert broker.depth()["q"] == Depth()

    def test_what_was_taken_before_an_error_is_given_back_at_the_end(
        self, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.publish(many(2), PATIENCE)
        self.failing(monkeypatch, "pull", 1)
        with pytest.raises(BrokerUnreachable):
            broker.fetch(["q"], 2, 0.0)
        broker.close()
        assert len(list(tmp_path.glob("*.q.msg"))) == 2

    def test_what_cannot_be_parked_waits_here(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        headers = {"id": "later", "task": "t", "eta": "2099-01-01T00:00:00+00:00"}
        broker.publish([make("later", headers=headers, due=4070908800.0)], PATIENCE)
        self.failing(monkeypatch, "put", 0)
        with pytest.raises(BrokerUnreachable, match="the disk is full"):
            broker.fetch(["q"], 1, 0.0)
        assert broker.fetch(["q"], 1, 0.0) == []
        assert broker.depth()["q"] == Depth(delayed=1)

    def test_what_nobody_waited_for_and_cannot_be_given_back_comes_next(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broker.publish(many(2), PATIENCE)
        self.failing(monkeypatch, "requeue", 0)
        taken = cast(KombuBroker, broker)._taken
        with pytest.raises(OSError, match="the disk is full"):
            taken.untake(taken.take(["q"], 2)[0])
        assert ids([*take(broker, 1), *take(broker, 1)]) == ["0", "1"]


class TestDelays:
    def test_an_eta_stays_in_the_queue_until_a_worker_parks_it(self, broker: Broker, tmp_path: Path) -> None:
        headers = {"id": "1", "task": "t", "eta": "2099-01-01T00:00:00+00:00"}
        broker.publish([make(headers=headers, due=4070908800.0)], PATIENCE)
        assert len(list(tmp_path.glob("*.q.msg"))) == 1
        assert broker.fetch(["q"], 1, 0.0) == []
        assert broker.depth()["q"] == Depth(delayed=1)
        [path] = tmp_path.glob("*.q-greenq-delayed-4.msg")
        assert json.loads(path.read_text())["headers"]["eta"] == headers["eta"]

    def test_what_is_parked_moves_nearer_and_survives_its_worker(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parking, "BOUNDS", (0.5, 2.0, 4.0, 8.0))
        monkeypatch.setattr(parking, "NEAR", 0.5)
        url = f"filesystem://{tmp_path}"
        due = time.time() + 1.8
        with brokers.connect(url) as first:
            first.lease("first", 60.0)
            first.publish([make("later", due=due)], PATIENCE)
            assert len(list(tmp_path.glob("*.q-greenq-delayed-1.msg"))) == 1
            assert first.fetch(["q"], 1, 0.0) == []
        with brokers.connect(url) as second:
            second.lease("second", 60.0)
            [delivery] = second.fetch(["q"], 1, PATIENCE)
            assert due <= time.time() < due + 6.0
            assert delivery.message == make("later")

    def test_what_a_stopping_worker_holds_goes_on_waiting_elsewhere(self, tmp_path: Path) -> None:
        url = f"filesystem://{tmp_path}"
        due = time.time() + 2.0
        with brokers.connect(url) as first:
            first.lease("first", 60.0)
            first.publish([make("held")], PATIENCE)
            settle(first, take(first, 1), Verdict.RETRY_AT, due=due)
            assert not list(tmp_path.glob("*.msg")), "it is held in memory"
        assert len(list(tmp_path.glob("*.q-greenq-delayed-0.msg"))) == 1
        with brokers.connect(url) as second:
            second.lease("second", 60.0)
            assert ids(second.fetch(["q"], 1, PATIENCE)) == ["held"]
            assert time.time() >= due


class TestTheOwner:
    def test_a_call_that_takes_too_long_is_late_and_what_it_took_given_back(self) -> None:
        undone: list[str] = []
        owner = Owner("test", lambda: None)
        with pytest.raises(Late) as caught:
            owner.call(lambda: time.sleep(0.3) or "taken", 0.05, undone.append)
        assert caught.value.begun
        with pytest.raises(Late) as caught:
            owner.call(lambda: "never", 0.01)
        assert not caught.value.begun
        assert owner.call(lambda: "next", PATIENCE) == "next"
        assert undone == ["taken"]
        assert owner.close(PATIENCE)

    def test_what_a_late_call_was_to_send_is_let_go_while_the_owner_is_stuck(self) -> None:
        class Body:
            pass

        owner = Owner("test", lambda: None)
        release = native.Signal()
        with pytest.raises(Late):
            owner.call(release.wait, 0.05)
        body = Body()
        alive = weakref.ref(body)
        with pytest.raises(Late):
            owner.call(lambda body=body: body, 0.01, lambda _, body=body: body)  # type: ignore[misc]
        del body
        gc.collect()
        assert alive() is None
        release.set()
        assert owner.call(lambda: "next", PATIENCE) == "next"
        assert owner.close(PATIENCE)

    def test_a_forked_child_begins_anew(self, broker: Broker) -> None:
        broker.publish(many(3), PATIENCE)
        held = take(broker, 2)
        child = os.fork()
        if child == 0:
            try:
                broker.lease("child", 60.0)
                good = len(take(broker, 1)) == 1 and settle(broker, held, Verdict.ACK) == [False, False]
                broker.close()
                os._exit(0 if good else 1)
            except BaseException:
                os._exit(2)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert settle(broker, held, Verdict.ACK) == [True, True]
        assert broker.depth()["q"] == Depth(ready=1)

    def test_one_connection_serves_any_number_of_callers(self) -> None:
        import threading

        url = f"sqla+{postgres().empty()}"
        with brokers.connect(url) as broker:
            broker.lease("one", 60.0)
            callers = [threading.Thread(target=lambda: broker.publish([make()], PATIENCE)) for _ in range(50)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            count = postgres().query(
                "postgres",
                f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'",
            )
            assert count.strip() == "1"
            assert broker.depth()["q"].ready == 50


def test_the_limits_of_each_transport_are_stated() -> None:
    for url, words in (
        ("kombu+memory://", "is lost"),
        ("sqs://", "comes back when the broker says so"),
        ("etcd://localhost", "newest message comes first"),
    ):
        guarantees = brokers.connect(url).guarantees
        assert not guarantees.leases
        assert any(re.search(words, limit) for limit in guarantees.limits)


def test_a_closed_broker_says_so(broker: Broker) -> None:
    broker.close()
    with pytest.raises(BrokerError, match="closed"):
        broker.depth()
