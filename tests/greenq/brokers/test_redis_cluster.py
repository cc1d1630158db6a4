"""The Redis broker and result store in a cluster: the same suites, and a slot that moves while they work."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from functools import cache

import pytest

from greenq.brokers import Broker, connect
from greenq.brokers.redis import RedisBroker
from greenq.errors import BrokerError, ConfigError
from greenq.message import Verdict
from greenq.redis.address import parse
from greenq.redis.cluster import slot_of
from greenq.testing.brokers import SharedBrokerConformance
from greenq.testing.messages import PATIENCE, ids, many, settle, until
from greenq.testing.stores import FusedStoreConformance, SharedStoreConformance
from tests.servers import RedisServer, free_port, start_redis

_numbers = itertools.count()


@cache
def cluster() -> list[RedisServer]:
    """Three nodes that share the slots."""
    nodes = [
        start_redis(
            "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--databases", "1",
            "--cluster-node-timeout", "2000", "--cluster-port", str(free_port()),
        )
        for _ in range(3)
    ]  # fmt: skip
    subprocess.run(
        ["redis-cli", "--cluster", "create", *(f"127.0.0.1:{n.port}" for n in nodes), "--cluster-yes"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    until(lambda: all(b"cluster_state:ok" in n.do("CLUSTER", "INFO") for n in nodes), "the cluster")
    return nodes


def address(prefix: str) -> str:
    first, second, _ = cluster()
    return f"redis+cluster://127.0.0.1:{first.port},127.0.0.1:{second.port}/?global_keyprefix={prefix}"


class TestClusterBroker(SharedBrokerConformance):
    def address(self) -> str:
        return address(f"{{suite-{next(_numbers)}}}.")


class TestClusterStore(SharedStoreConformance, FusedStoreConformance):
    def address(self) -> str:
        return address(f"{{suite-{next(_numbers)}}}.")

    def partner(self) -> Broker:
        return connect(self.here)

    def stranger(self) -> Broker:
        return connect("memory://stranger")


def test_slots_are_those_of_the_server() -> None:
    for key in ("{greenq}.", "{a}b", "plain", "{}x", "x{tag}y{other}"):
        assert slot_of(key) == cluster()[0].do("CLUSTER", "KEYSLOT", key), key


def test_a_prefix_without_a_tag_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"such as \{shop\}"):
        parse("redis+cluster://h/?global_keyprefix=shop.")
    assert parse("redis+cluster://h").prefix == "{greenq}."


def test_a_node_of_a_cluster_says_which_address_it_needs() -> None:
    wrong = next(n for n in cluster() if not owns(n, slot_of("q")))
    with RedisBroker(wrong.url) as broker, pytest.raises(BrokerError, match=r"redis\+cluster"):
        broker.purge("q")


def owns(node: RedisServer, slot: int) -> bool:
    mine = node.do("CLUSTER", "MYID")
    return any(
        first <= slot <= last and owner[2] == mine for first, last, owner, *_ in node.do("CLUSTER", "SLOTS")
    )


def move(slot: int) -> None:
    """Give a slot to another node, key by key, as resharding does."""
    source = next(n for n in cluster() if owns(n, slot))
    target = next(n for n in cluster() if n is not source)
    theirs, mine = target.do("CLUSTER", "MYID").decode(), source.do("CLUSTER", "MYID").decode()
    target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", mine)
    source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", theirs)
    while keys := source.do("CLUSTER", "GETKEYSINSLOT", slot, 1):
        source.do("MIGRATE", "127.0.0.1", target.port, keys[0].decode(), 0, 5000)
        time.sleep(0.02)
    for node in (target, source, *cluster()):
        node.do("CLUSTER", "SETSLOT", slot, "NODE", theirs)


def test_nothing_is_lost_while_a_slot_moves() -> None:
    prefix = "{moving}."
    here = address(prefix)
    stop = threading.Event()
    seen: list[str] = []
    sent: list[str] = []
    with RedisBroker(here, 10.0) as worker, RedisBroker(here, 10.0) as sender:
        worker.lease("worker", 60.0)

        def work() -> None:
            while not stop.is_set():
                try:
                    taken = worker.fetch(["q"], 10, 0.2)
                    seen.extend(ids(taken))
                    settle(worker, taken, Verdict.ACK)
                except BrokerError:
                    time.sleep(0.05)

        def send() -> None:
            number = 0
            while not stop.is_set():
                batch = many(5, headers={"id": str(number), "task": "t"})
                if sender.publish(batch, 10.0) == [None] * 5:
                    sent.append(str(number))
                number += 1
                time.sleep(0.005)

        threads = [threading.Thread(target=work), threading.Thread(target=send)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.3)
            move(slot_of(prefix))
        time.sleep(0.3)
        until(lambda: len(set(seen)) >= len(sent) - 1, "the work")
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        seen += ids(worker.fetch(["q"], 1000, 0.0))
        assert len(sent) > 20
        assert {n: seen.count(n) for n in sent} == dict.fromkeys(sent, 5)
