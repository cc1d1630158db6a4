"""Where messages and results are kept under faults: each broker, alone or with a result store beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

from greenq import GreenQ
from tests.rabbit import RabbitServer, shared_rabbit, start_rabbitmq
from tests.servers import RedisServer, shared_redis, start_redis

__all__ = ["BROKERS", "Site", "open_site"]

BROKERS = ("sqlite", "redis", "amqp")


class Site(ABC):
    """A directory, a broker and a result store, all its own.

    Attributes:
        broker, results: their addresses.
        fused: whether both are one server, which takes what a task leaves in one step.
        copies: whether suspects are charged by a copy (see `tests.chaos.checker.check`).
    """

    broker: str
    results: str
    fused: bool
    copies = False

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="greenq-chaos-"))
        self.ledger = self.path / "ledger"

    def app(self) -> GreenQ:
        """An application to send with and to look from."""
        return GreenQ("chaos", broker=self.broker, results=self.results)

    @abstractmethod
    def restart(self, pause: float) -> None:
        """Kill the broker and start it again after `pause` seconds, with nothing that it had."""

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
        raise ValueError("there is no server that could forget")


class RedisSite(Site):
    """One database, or two."""

    def __init__(self, fused: bool, own: bool) -> None:
        super().__init__()
        self.fused = fused
        self._own = own
        self.server: RedisServer = start_redis() if own else shared_redis()
        self.broker = self.server.empty()
        self.results = self.broker if fused else self.server.empty()

    def restart(self, pause: float) -> None:
        self.server.kill()
        time.sleep(pause)
        self.server.start()

    def close(self) -> None:
        if self._own:
            self.server.stop()
        super().close()


class AmqpSite(Site):
    """RabbitMQ, with results in Redis."""

    fused = False
    copies = True

    def __init__(self, own: bool) -> None:
        super().__init__()
        self._own = own
        self.server: RabbitServer = start_rabbitmq() if own else shared_rabbit()
        self.broker = self.server.url if own else self.server.empty()
        self.results = shared_redis().empty()

    def restart(self, pause: float) -> None:
        self.server.kill()
        time.sleep(pause)
        shutil.rmtree(self.server.directory / "mnesia")
        self.server.start()

    def close(self) -> None:
        if self._own:
            self.server.stop()
        super().close()


def open_site(broker: str, fused: bool = True, own: bool = False) -> Site:
    """Make the place that a run is to use.

    Parameters:
        broker: one of `BROKERS`.
        fused: results beside the messages, where the broker can keep them.
        own: a server of its own, which may be stopped.
    """
    if broker == "sqlite":
        return SqliteSite(fused)
    if broker == "redis":
        return RedisSite(fused, own)
    return AmqpSite(own)
