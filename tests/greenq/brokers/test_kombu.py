"""Any transport of kombu's, as a broker: the contract on real ones, and Celery at the other end."""

from __future__ import annotations

import contextlib
import itertools
import shutil

from greenq.brokers.graveyard import grave_of
from greenq.brokers.kombu import KombuBroker
from greenq.testing.brokers import SharedBrokerConformance
from greenq.testing.brokers.base import HOSTILE
from greenq.testing.brokers.leasing import Leasing
from greenq.testing.brokers.processes import Processes
from greenq.testing.brokers.sending import Sending
from greenq.testing.brokers.upkeep import Upkeep
from tests.backends import etcd, memory_directory, moto, postgres, zookeeper

_numbers = itertools.count()
SHORT = tuple(name for name in HOSTILE if len(name) < 150)
FILES = tuple(name for name in SHORT if "/" not in name)


class TestMemory(Sending, Leasing, Upkeep):
    crowd = 1000
    names = SHORT

    def address(self) -> str:
        from kombu.transport.memory import Channel, Transport

        Channel.queues.clear()
        Transport.global_state.clear()
        return "kombu+memory://"


class TestFilesystem(Sending, Leasing, Upkeep, Processes):
    crowd = 200
    names = FILES

    def address(self) -> str:
        return f"filesystem://{self.directory}/{next(_numbers)}"

    def setup_method(self) -> None:
        self.directory = memory_directory()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)


class TestSqlite(SharedBrokerConformance):
    crowd = 100
    names = SHORT

    def address(self) -> str:
        return f"sqla+sqlite:///{self.directory}/{next(_numbers)}.db"

    def setup_method(self) -> None:
        self.directory = memory_directory()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)


class TestPostgres(Leasing, Upkeep):
    crowd = 60

    def address(self) -> str:
        return f"sqla+{postgres().empty()}"


class TestSqs(Leasing, Upkeep):
    crowd = 40

    def address(self) -> str:
        options = f"region=us-east-1&queue_name_prefix=greenq{next(_numbers)}-"
        return f"sqs://key:secret@127.0.0.1:{moto().port}?{options}"


class TestZooKeeper(Leasing, Upkeep):
    crowd = 40

    def address(self) -> str:
        return f"zookeeper://127.0.0.1:{zookeeper().port}/greenq{next(_numbers)}"


class TestEtcd(Upkeep):
    crowd = 40

    def address(self) -> str:
        import etcd as client

        with contextlib.suppress(client.EtcdKeyNotFound):
            client.Client(port=etcd().port).delete("/kombu", recursive=True)
        return f"etcd://127.0.0.1:{etcd().port}"


def test_looking_at_dead_letters_drops_none_that_cannot_be_read() -> None:
    with KombuBroker(TestMemory().address()) as broker:
        channel, grave = broker._channel, grave_of("mail")
        broker._call(lambda: channel.declare(grave, ours=True), 60.0)
        broker._call(lambda: channel.put_raw(grave, b'{"not": "an envelope"}'), 60.0)
        for _ in range(2):
            [letter] = broker.dead("mail")
            assert letter.message is None
            assert b"an envelope" in letter.raw
