"""Where messages and results are kept under faults: each broker, alone or with a result store beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

from greenq import GreenQ
from tests.rabbit import RabbitServer, start_rabbitmq
from tests.servers import RedisServer, start_redis

__all__ = ["BROKERS", "Site", "open_site"]

BROKERS = ("sqlite", "redis", "amqp")


class Site(ABC):
    """A directory, a broker and a result store, all its own.

    Attributes:
        broker, results: their addresses.
        fused: whether both are one server, which takes what a task leaves in one step.
    """

    broker: str
    results: str
    fused: bool

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="greenq-chaos-"))
        self.ledger = self.path / "ledger"

    def app(self) -> GreenQ:
        """An application to send with and to look from."""
        return GreenQ("chaos", broker=self.broker, results=self.results)

    @abstractmethod
    def restart(self, pause: float) -> None:
        """Kill the broker and start it again after `pause` seconds, with all that it had confirmed."""

    def close(self) -> None:
        """Stop what was started and remove the directory, which ``CHAOS_KEEP`` may want a copy of."""
        if keep := os.environ.get("CHAOS_KEEP"):
            shutil.copytree(self.path, keep, dirs_exist_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


class SqliteSite(Site):
    """One file, or one for messages and one for results."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.broker = f"sqlite:///{self.path}/greenq.db"
        self.results = self.broker if fused else f"sqlite:///{self.path}/results.db"

    def restart(self, pause: float) -> None:
        """Do nothing: there is no server."""


class RedisSite(Site):
    """One database that keeps everything on disk before it confirms, or two."""

    def __init__(self, fused: bool, lasting: bool) -> None:
        super().__init__()
        self.fused = fused
        options = ("--appendonly", "yes", "--appendfsync", "always") if lasting else ()
        self.server: RedisServer = start_redis(*options)
        self.broker = self.server.empty()
        self.results = self.broker if fused else self.server.empty()

    def restart(self, pause: float) -> None:
        self.server.kill()
        time.sleep(pause)
        self.server.start()

    def close(self) -> None:
        self.server.stop()
        super().close()


class AmqpSite(Site):
    """RabbitMQ, with results in a Redis of their own."""

    fused = False

    def __init__(self) -> None:
        super().__init__()
        self.server: RabbitServer = start_rabbitmq()
        self.store: RedisServer = start_redis("--appendonly", "yes", "--appendfsync", "always")
        self.broker = self.server.empty()
        self.results = self.store.empty()

    def restart(self, pause: float) -> None:
        self.server.kill()
        time.sleep(pause)
        self.server.start()

    def close(self) -> None:
        self.server.stop()
        self.store.stop()
        super().close()


def open_site(broker: str, fused: bool = True, lasting: bool = False) -> Site:
    """Make the place that a run is to use.

    Parameters:
        broker: one of `BROKERS`.
        fused: results beside the messages, where the broker can keep them.
        lasting: survive the broker's own death; RabbitMQ and SQLite always do.
    """
    if broker == "sqlite":
        return SqliteSite(fused)
    if broker == "redis":
        return RedisSite(fused, lasting)
    return AmqpSite()
