"""Every store of limits passes the same suite."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from greenq.testing.throttles import ThrottleConformance
from greenq.throttling.base import ThrottleStore
from greenq.throttling.table import connect
from tests.servers import shared_redis

_names = itertools.count()


class TestMemory(ThrottleConformance):
    def setup_method(self) -> None:
        self.url = f"memory://throttle{next(_names)}"
        super().setup_method()

    def open(self) -> ThrottleStore:
        return self.opened(connect(self.url))


class TestSqlite(ThrottleConformance):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.url = f"sqlite:///{tmp_path}/limits.db"
        super().setup_method()

    def setup_method(self) -> None:
        """Begins once there is a directory."""

    def open(self) -> ThrottleStore:
        return self.opened(connect(self.url))


class TestRedis(ThrottleConformance):
    def setup_method(self) -> None:
        self.url = shared_redis().empty()
        super().setup_method()

    def open(self) -> ThrottleStore:
        return self.opened(connect(self.url))
