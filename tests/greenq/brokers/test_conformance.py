"""The built-in brokers do what the contract says."""

from __future__ import annotations

import itertools
import shutil
import tempfile

from greenq.testing.brokers import BrokerConformance, SharedBrokerConformance

_numbers = itertools.count()


class TestMemoryBroker(BrokerConformance):
    def address(self) -> str:
        return f"memory://conformance-{next(_numbers)}"


class TestSqliteBroker(SharedBrokerConformance):
    def address(self) -> str:
        return f"sqlite:///{self.directory}/{next(_numbers)}.db"

    def setup_method(self) -> None:
        self.directory = tempfile.mkdtemp()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)
