"""Any transport of kombu's, as a broker: the contract on real ones, and Celery at the other end."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

from greenq.testing.brokers import BrokerConformance, SharedBrokerConformance
from greenq.testing.brokers.base import HOSTILE

_numbers = itertools.count()
SHORT = tuple(name for name in HOSTILE if len(name) < 150)
FILES = tuple(name for name in SHORT if "/" not in name)


def directory() -> str:
    """A new directory, in memory if there is such a place: a disk's flushes would take minutes."""
    return tempfile.mkdtemp(prefix="greenq-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


class TestMemory(BrokerConformance):
    crowd = 1000
    names = SHORT

    def address(self) -> str:
        from kombu.transport.memory import Channel, Transport

        Channel.queues.clear()
        Transport.global_state.clear()
        return "kombu+memory://"


class TestFilesystem(SharedBrokerConformance):
    crowd = 200
    names = FILES

    def address(self) -> str:
        return f"filesystem://{self.directory}/{next(_numbers)}"

    def setup_method(self) -> None:
        self.directory = directory()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)


class TestSqlite(SharedBrokerConformance):
    crowd = 200
    names = SHORT

    def address(self) -> str:
        return f"sqla+sqlite:///{self.directory}/{next(_numbers)}.db"

    def setup_method(self) -> None:
        self.directory = directory()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)
