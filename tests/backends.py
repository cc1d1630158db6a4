"""More real servers for tests: databases, caches and clouds; private, on free ports, stopped by their id."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.servers import free_port

__all__ = [
    "Etcd", "Memcached", "Moto", "Postgres", "ZooKeeper",
    "etcd", "memcached", "memory_directory", "moto", "postgres", "zookeeper",
]  # fmt: skip

PATIENCE = 60.0
_numbers = itertools.count()
_started: list[Server] = []


def memory_directory() -> str:
    """A new directory, in memory if there is such a place: a disk's flushes would take minutes."""
    return tempfile.mkdtemp(prefix="greenq-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


class Server:
    """A program that listens on a port of its own.

    Parameters:
        command: ``{port}`` and ``{directory}`` are filled in.
        user: whom it runs as, if we are root.
    """

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        self.port = free_port()
        self.directory = Path(memory_directory())
        self.user = user if os.getuid() == 0 else None
        if self.user is not None:
            shutil.chown(self.directory, self.user)
        self.prepare()
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [part.format(port=self.port, directory=self.directory) for part in command],
                stdout=log, stderr=log, env=os.environ | dict(env or {}), user=self.user, cwd=self.directory,
            )  # fmt: skip
        _started.append(self)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.05)

    def prepare(self) -> None:
        """Make what it needs before it starts."""

    def answers(self) -> bool:
        """Whether it is ready."""
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            return True
        return False

    def stop(self) -> None:
        """End it and remove its directory."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


@atexit.register
def _stop_all() -> None:
    for server in _started:
        server.stop()


class Postgres(Server):
    """A cluster of PostgreSQL.

    Parameters:
        connections: how many it allows at once, three of them to superusers only.
    """

    def __init__(self, connections: int = 50) -> None:
        [*_, self.programs] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        super().__init__(
            [
                f"{self.programs}/postgres", "-D", "{directory}/data", "-p", "{port}", "-k", "{directory}",
                "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", f"max_connections={connections}",
            ],
            user="postgres",
        )  # fmt: skip

    def prepare(self) -> None:
        self.run("initdb", "-D", f"{self.directory}/data", "-A", "trust", "-U", "postgres", "--no-sync")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs."""
        done = subprocess.run(
            [f"{self.programs}/{program}", *arguments],
            user=self.user, cwd=self.directory, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers(self) -> bool:
        ready = [f"{self.programs}/pg_isready", "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run(ready, timeout=PATIENCE).returncode == 0

    def query(self, database: str, statement: str) -> str:
        """What a statement returns, as text."""
        return self.run(
            "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-At",
            "-c",
            statement,
            database,
        )

    def empty(self) -> str:
        """The address of a new database, as SQLAlchemy takes it."""
        name = f"greenq{next(_numbers)}"
        self.query("postgres", f"CREATE DATABASE {name} STRATEGY file_copy")
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"


class Memcached(Server):
    """A memcached that takes large values."""

    options: tuple[str, ...] = ("-I", "64m")

    def __init__(self) -> None:
        super().__init__(
            ["memcached", "-p", "{port}", "-l", "127.0.0.1", "-m", "512", "-U", "0", *self.options],
            user="nobody",
        )


class Moto(Server):
    """A cloud of moto's: SQS and S3."""

    def __init__(self) -> None:
        super().__init__([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class ZooKeeper(Server):
    """A ZooKeeper of one node."""

    def __init__(self) -> None:
        super().__init__(
            [
                "java", "-Xmx96m", "-Dzookeeper.admin.enableServer=false",
                "-cp", "/usr/share/java/zookeeper.jar",
                "org.apache.zookeeper.server.ZooKeeperServerMain", "{port}", "{directory}/data",
            ]
        )  # fmt: skip


class Etcd(Server):
    """An etcd of one node, with the old interface that kombu speaks."""

    def __init__(self) -> None:
        peers = free_port()
        super().__init__(
            [
                "etcd", "--enable-v2", "--data-dir", "{directory}/data", "--unsafe-no-fsync",
                "--listen-client-urls", "http://127.0.0.1:{port}",
                "--advertise-client-urls", "http://127.0.0.1:{port}",
                "--listen-peer-urls", f"http://127.0.0.1:{peers}",
            ]
        )  # fmt: skip


@cache
def postgres() -> Postgres:
    """The PostgreSQL that all tests share; each has a database of its own."""
    return Postgres()


@cache
def memcached() -> Memcached:
    """The memcached that all tests share."""
    return Memcached()


@cache
def zookeeper() -> ZooKeeper:
    """The ZooKeeper that all tests share; each has a node of its own."""
    return ZooKeeper()


@cache
def etcd() -> Etcd:
    """The etcd that all tests share; each has a directory of its own."""
    return Etcd()


@cache
def moto() -> Moto:
    """The cloud that all tests share."""
    return Moto()
