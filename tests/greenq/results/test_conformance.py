"""The built-in result stores do what the contract says."""

from __future__ import annotations

import itertools
import shutil
import tempfile

from greenq.brokers import Broker, connect
from greenq.testing.stores import (
    ChordStoreConformance,
    FusedStoreConformance,
    SharedStoreConformance,
    StoreConformance,
)

_numbers = itertools.count()


class TestMemoryStore(StoreConformance, FusedStoreConformance, ChordStoreConformance):
    def address(self) -> str:
        return f"memory://store-conformance-{next(_numbers)}"

    def partner(self) -> Broker:
        return connect(self.here)

    def stranger(self) -> Broker:
        return connect("sqlite:///never-opened.db")


class TestSqliteStore(SharedStoreConformance, FusedStoreConformance, ChordStoreConformance):
    def address(self) -> str:
        return f"sqlite:///{self.directory}/{next(_numbers)}.db"

    def setup_method(self) -> None:
        self.directory = tempfile.mkdtemp()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)

    def partner(self) -> Broker:
        return connect(self.here)

    def stranger(self) -> Broker:
        return connect(f"sqlite:///{self.directory}/another.db")
