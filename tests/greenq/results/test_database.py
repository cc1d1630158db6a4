"""Results in databases: the contract on SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import shutil

from greenq.testing.stores import ChordStoreConformance, SharedStoreConformance
from greenq.testing.stores.keeping import Keeping
from greenq.testing.stores.waiting import Elsewhere
from tests.backends import memory_directory, postgres

_numbers = itertools.count()


class TestSqlite(SharedStoreConformance, ChordStoreConformance):
    def address(self) -> str:
        return f"db+sqlite:///{self.directory}/{next(_numbers)}.db"

    def setup_method(self) -> None:
        self.directory = memory_directory()
        super().setup_method()

    def teardown_method(self) -> None:
        super().teardown_method()
        shutil.rmtree(self.directory)


class TestPostgres(Keeping, Elsewhere, ChordStoreConformance):
    def address(self) -> str:
        return f"db+{postgres().empty()}"
