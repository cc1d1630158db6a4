"""A PostgreSQL that allows few connections, and somebody who counts them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from greenq import AsyncResult, RemoteError
from tests.backends import Postgres
from tests.greenq.worker.conftest import Shop
from tests.waiting import PATIENCE, until

HERE = Path(__file__).parent
ALLOWED = 20
ROOM = ALLOWED - 3
"""What PostgreSQL leaves to those who are no superusers."""


class Few(Postgres):
    """A PostgreSQL with room for few, and the connections of its user ``clerk``."""

    def __init__(self) -> None:
        super().__init__(ALLOWED)
        self.query("postgres", "CREATE ROLE clerk LOGIN")
        self.url = f"postgresql+psycopg://clerk@127.0.0.1:{self.port}/postgres"

    def states(self) -> Counter[str]:
        """How many of the clerk's connections are in which state."""
        rows = self.query(
            "postgres", "SELECT replace(state, ' ', '_') FROM pg_stat_activity WHERE usename = 'clerk'"
        )
        return Counter(rows.split())


class Count:
    """Counts the clerk's connections all the time."""

    def __init__(self, server: Few) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._connection = psycopg.connect(server.url.replace("+psycopg", "").replace("clerk", "postgres"))
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        with self._connection as connection:
            connection.autocommit = True
            while not self._ended.is_set():
                row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'clerk'")
                self.most = max(self.most, row.fetchone()[0])
                time.sleep(0.01)

    def end(self) -> int:
        """The most that there were at once."""
        self._ended.set()
        self._thread.join()
        return self.most


def ends(results: list[AsyncResult]) -> list[str]:
    """What each came to: a state, or the type of its exception."""
    found = []
    for result in results:
        value = result.get(timeout=4 * PATIENCE, propagate=False)
        name = str(value) if isinstance(value, RemoteError) else type(value).__name__
        found.append(name if isinstance(value, BaseException) else result.state)
    return found


@pytest.fixture(scope="module")
def few() -> Iterator[Few]:
    server = Few()
    yield server
    server.stop()


@pytest.fixture
def count(few: Few) -> Iterator[Count]:
    count = Count(few)
    yield count
    count.end()


@pytest.fixture
def bank(tmp_path: Path, few: Few) -> Iterator[Shop]:
    """Workers for the applications of this directory; none keeps a connection when it has ended."""
    bank = Shop(tmp_path)
    try:
        yield bank
    finally:
        bank.close()
        until(lambda: not few.states(), what="the workers' connections are closed")
