"""Brokers that can be made to fail in each way, and to come back."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.chaos.proxy import FaultProxy
from tests.rabbit import RabbitServer, shared_rabbit
from tests.servers import RedisServer, free_port

__all__ = ["STAGES", "Fault", "Stage"]

Fault = tuple[Callable[[], object], Callable[[], object]]
"""What makes the broker fail, and what brings it back."""
PATIENCE = 60.0
CLOSE_ALL = '[rabbit_networking:close_connection(C, "tests") || C <- rabbit_networking:connections()]'


class Stage(ABC):
    """A broker, and the ways in which it can fail.

    Attributes:
        url: for the worker and for producers: what stands there fails.
        results: where results go.
        faults: by kind.
        worker: the process id of the worker, for faults that only it has.
        quiet: faults that may take away what was confirmed just before, so that nothing is sent then.
        drained: faults that take away what is there, so that nothing may be.
    """

    url: str
    results: str
    worker = 0
    quiet: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}

    def _add_network(self, proxies: Sequence[FaultProxy], frame: int) -> None:
        def all_of(call: Callable[[FaultProxy], object]) -> Callable[[], object]:
            return lambda: [call(proxy) for proxy in proxies]

        heal = all_of(FaultProxy.heal)
        self.faults |= {
            "delay": (all_of(lambda proxy: proxy.delay(random.uniform(0.2, 0.6))), heal),
            "blackhole": (all_of(FaultProxy.swallow), heal),
            "truncate": (all_of(lambda proxy: proxy.truncate(random.randrange(1, frame))), heal),
            "reset": (all_of(FaultProxy.reset), heal),
            "refuse": (all_of(FaultProxy.refuse), heal),
        }

    @abstractmethod
    def connections(self) -> int:
        """How many clients the server counts, without those of the test itself."""

    @abstractmethod
    def close(self) -> None:
        """End the servers."""


class RedisStage(Stage):
    """A Redis server that keeps everything, behind a proxy, with a user who can be shut out."""

    def __init__(self) -> None:
        super().__init__()
        self.server = RedisServer("--appendonly", "yes", "--appendfsync", "always")
        self._admit()
        self.server.do("ACL", "SETUSER", "worker", "on", "~*", "&*", "+@all")
        self.proxy = FaultProxy(self.server.port)
        self.url = self.results = f"redis://worker:pw@127.0.0.1:{self.proxy.port}/0"
        do = self.server.do
        self._add_network([self.proxy], 40)
        self.faults |= {
            "kill": (lambda: do("CLIENT", "KILL", "USER", "worker"), lambda: None),
            "restart": (self.server.kill, self._start),
            "memory": (
                lambda: do("CONFIG", "SET", "maxmemory", 1),
                lambda: do("CONFIG", "SET", "maxmemory", 0),
            ),
            "replica": (
                lambda: do("REPLICAOF", "127.0.0.1", free_port()),
                lambda: do("REPLICAOF", "NO", "ONE"),
            ),
            "revoke": (self._shut_out, self._admit),
            "busy": (lambda: self._stop(signal.SIGSTOP), lambda: self._stop(signal.SIGCONT)),
        }  # fmt: skip

    def _admit(self) -> None:
        self.server.do("ACL", "SETUSER", "worker", "resetpass", ">pw")

    def _shut_out(self) -> None:
        self.server.do("ACL", "SETUSER", "worker", "resetpass", ">changed")
        self.server.do("CLIENT", "KILL", "USER", "worker")

    def _start(self) -> None:
        self.server.start()
        self.server.do("ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all")

    def _stop(self, signum: int) -> None:
        self.server.process.send_signal(signum)

    def connections(self) -> int:
        listed = self.server.do("CLIENT", "LIST", "TYPE", "NORMAL").decode().splitlines()
        return sum("user=worker" in line for line in listed)

    def close(self) -> None:
        self.proxy.close()
        self.server.stop()


class SentinelStage(Stage):
    """A primary, its replica, and a sentinel that promotes it when the primary dies."""

    quiet = frozenset({"failover"})

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="greenq-sentinel-"))
        # Its first copy goes to a replica at once, not after the seconds that Redis waits for further ones.
        primary = RedisServer("--repl-diskless-sync-delay", "0")
        self.servers = [primary, RedisServer("--replicaof", "127.0.0.1", str(primary.port))]
        self.port = free_port()
        (self.directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor shop 127.0.0.1 {primary.port} 1\n"
            # A primary that is only slow, on a busy machine, must not be given up for a replica that lags.
            "sentinel down-after-milliseconds shop 2500\nsentinel failover-timeout shop 3000\n"
        )
        with (self.directory / "log").open("w") as log:
            self.sentinel = subprocess.Popen(
                ["redis-server", str(self.directory / "sentinel.conf"), "--sentinel"], stdout=log, stderr=log
            )
        self.url = self.results = f"sentinel://127.0.0.1:{self.port}/0?master_name=shop"
        self._wait(lambda: self._knows_replica(), "the sentinel knows the replica")
        self.faults["failover"] = self._fail_over, self._wait_for_new

    @property
    def primary(self) -> RedisServer:
        """The server that takes writes now."""
        for server in self.servers:
            if server.process.poll() is None and server.do("ROLE")[0] == b"master":
                return server
        raise LookupError

    def _ask(self, *command: str) -> list[bytes]:
        found = self.servers[0].do(*command, url=f"redis://127.0.0.1:{self.port}")
        return list(found)

    def _knows_replica(self) -> bool:
        try:
            return bool(self._ask("SENTINEL", "REPLICAS", "shop"))
        except Exception:
            return False

    def _fail_over(self) -> None:
        self.old = self.primary
        # What a replica has not heard of when its primary dies is lost, as the manual says: let it hear.
        self._wait(lambda: self.old.do("WAIT", 1, 1500) == 1, "the replica has heard of everything")
        self.old.kill()

    def _wait_for_new(self) -> None:
        def promoted() -> bool:
            with contextlib.suppress(LookupError):
                return int(self._ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop")[1]) == self.primary.port
            return False

        self._wait(promoted, "the failover")
        new = self.primary
        self.old.options = (
            "--replicaof", "127.0.0.1", str(new.port), "--repl-diskless-sync-delay", "0",
        )  # fmt: skip
        back = threading.Thread(target=self.old.start)
        back.start()
        back.join(PATIENCE)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, what
            time.sleep(0.1)

    def connections(self) -> int:
        """The worker's: those of the producer bear the same name."""
        return len(psutil.Process(self.worker).net_connections("tcp"))

    def close(self) -> None:
        self.sentinel.terminate()
        self.sentinel.wait(PATIENCE)
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class AmqpStage(Stage):
    """A RabbitMQ server with two addresses, and a user who can be shut out; results go to Redis, unharmed."""

    def __init__(self, server: RabbitServer | None = None) -> None:
        super().__init__()
        self._own = server is None
        self.server = server or RabbitServer()
        self.store = RedisServer()
        vhost = self.server.empty().rpartition("/")[2]
        self.user = f"shop-{vhost}"
        self._call(
            f'rabbit_auth_backend_internal:add_user(<<"{self.user}">>, <<"pw">>, <<"tests">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"{self.user}">>, <<"{vhost}">>, '
            '<<".*">>, <<".*">>, <<".*">>, <<"tests">>)'
        )
        self.proxy, self.second = FaultProxy(self.server.port), FaultProxy(self.server.port)
        nodes = [
            f"amqp://{self.user}:pw@127.0.0.1:{proxy.port}/{vhost}" for proxy in (self.proxy, self.second)
        ]
        self.url = ";".join(nodes)
        self.results = self.store.url
        self._turn = 0
        self._add_network([self.proxy, self.second], 400)
        self.faults |= {
            "node": (self._next_node, self.faults["refuse"][1]),
            "close": (lambda: self._call(CLOSE_ALL), lambda: None),
            "restart": (self.server.kill, self.server.start),
            "flow": (lambda: self._memory("0.00000001"), lambda: self._memory("0.9")),
            "revoke": (self._shut_out, lambda: self._call(self._password("pw"))),
            "busy": (lambda: self._stop(signal.SIGSTOP), lambda: self._stop(signal.SIGCONT)),
        }

    def _next_node(self) -> None:
        self._turn += 1
        (self.proxy, self.second)[self._turn % 2].refuse()

    def _call(self, code: str) -> None:
        self.server.control("eval", f"{code}.")

    def _memory(self, share: str) -> None:
        self._call(f"vm_memory_monitor:set_vm_memory_high_watermark({share})")

    def _password(self, word: str) -> str:
        return f'rabbit_auth_backend_internal:change_password(<<"{self.user}">>, <<"{word}">>, <<"tests">>)'

    def _shut_out(self) -> None:
        self._call(f"{self._password('changed')}, {CLOSE_ALL}")

    def _stop(self, signum: int) -> None:
        os.killpg(self.server.process.pid, signum)

    def connections(self) -> int:
        server = psutil.Process(self.server.process.pid)
        ends = []
        for one in server.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # a helper of the server's that has just ended
                ends += one.net_connections("tcp")
        return sum(end.laddr.port == self.server.port and bool(end.raddr) for end in ends)

    def close(self) -> None:
        self.proxy.close()
        self.second.close()
        self.store.stop()
        if self._own:
            self.server.stop()


class StoreStage(AmqpStage):
    """The same, but it is the result store that fails."""

    def __init__(self, server: RabbitServer | None = None) -> None:
        super().__init__(server or shared_rabbit())
        do = self.store.do
        between = self.between = FaultProxy(self.store.port)
        self.results = f"redis://127.0.0.1:{between.port}/0"
        self.faults = {}
        self._add_network([between], 40)
        self.faults |= {
            "memory": (
                lambda: do("CONFIG", "SET", "maxmemory", 1),
                lambda: do("CONFIG", "SET", "maxmemory", 0),
            ),
            "restart": (self.store.kill, self.store.start),
        }  # fmt: skip

    def close(self) -> None:
        self.between.close()
        super().close()


class SqliteStage(Stage):
    """The embedded database, in a small place of its own where that can be had."""

    drained = frozenset({"removed"})

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="greenq-sqlite-"))
        self.path = self.directory / "db" / "greenq.db"
        self.url = self.results = f"sqlite:///{self.path}"
        self._ballast = self.directory / "ballast"
        self._locker: sqlite3.Connection | None = None
        mounted = ["mount", "-t", "tmpfs", "-o", "size=256m", "none", str(self.directory)]
        self._small = subprocess.run(mounted, capture_output=True, check=False).returncode == 0
        self.faults = {
            "locked": (self._lock, self._unlock),
            "io": (lambda: self._limit(4096), lambda: self._limit(resource.RLIM_INFINITY)),
            "away": (lambda: self._move("db", "away"), lambda: self._move("away", "db")),
            "removed": (self._remove, lambda: None),
        }
        if self._small:
            self.faults["full"] = self._fill, lambda: self._ballast.unlink(missing_ok=True)
        self.path.parent.mkdir()

    def _lock(self) -> None:
        self._locker = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        self._locker.execute("BEGIN IMMEDIATE")

    def _unlock(self) -> None:
        assert self._locker is not None
        self._locker.execute("ROLLBACK")
        self._locker.close()

    def _limit(self, size: int) -> None:
        resource.prlimit(self.worker, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def _fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            for size in (1_048_576, 4096):
                with contextlib.suppress(OSError):
                    while ballast.write(b"x" * size) == size:
                        continue

    def _move(self, before: str, after: str) -> None:
        (self.directory / before).rename(self.directory / after)

    def _remove(self) -> None:
        for file in self.path.parent.iterdir():
            file.unlink()

    def connections(self) -> int:
        """How often the worker has the file open."""
        names = [os.readlink(entry) for entry in Path(f"/proc/{self.worker}/fd").iterdir()]
        return sum(name.startswith(str(self.path)) for name in names)

    def close(self) -> None:
        if self._small:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


STAGES: dict[str, type[Stage]] = {
    "redis": RedisStage,
    "sentinel": SentinelStage,
    "amqp": AmqpStage,
    "store": StoreStage,
    "sqlite": SqliteStage,
}
"""By name; `sentinel` is Redis with a failover, `store` RabbitMQ with a failing result store."""


def kinds(name: str, stage: Stage, wanted: Sequence[str]) -> list[str]:
    """Those faults of a stage that are wanted; all of them if none is named."""
    unknown = set(wanted) - set(stage.faults)
    if unknown:
        raise SystemExit(
            f"{name} has no fault {', '.join(sorted(unknown))}: it has {', '.join(stage.faults)}"
        )
    return list(wanted) or list(stage.faults)
