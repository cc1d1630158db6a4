"""Real servers for tests: private, on free ports, stopped by their process id."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

from greenq.redis.address import parse
from greenq.redis.client import Client
from greenq.redis.failures import Failure
from tests.processes import stop
from tests.waiting import PATIENCE

__all__ = ["Proxy", "RedisServer", "free_port", "shared_redis", "start_redis"]

DATABASES = 10_000
_stopped_at_exit: list[RedisServer] = []


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One redis-server, with a directory of its own.

    Parameters:
        options: more of its command line, such as ``"--requirepass", "secret"``.
        url: how it is spoken to, with ``{port}`` and ``{directory}``.
    """

    def __init__(self, *options: str, url: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="greenq-redis-"))
        self.port = free_port()
        self.options = options
        self.url = (url or "redis://127.0.0.1:{port}").format(port=self.port, directory=self.directory)
        self._databases = itertools.count()
        self.start()
        _stopped_at_exit.append(self)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    "redis-server",
                    "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory),
                    "--save", "", "--databases", str(DATABASES), *self.options,
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(Failure):
                self.do("PING")
                return
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "the Redis server does not answer"
            time.sleep(0.02)

    def empty(self) -> str:
        """The address of a database that no test has used."""
        address, _, options = self.url.partition("?")
        return f"{address.rstrip('/')}/{next(self._databases)}" + (f"?{options}" if options else "")

    def do(self, *command: Any, url: str | None = None) -> Any:
        """Carry out one command over a connection of its own."""
        client = Client(parse(url or self.url))
        try:
            return client.do(*command, deadline=time.monotonic() + PATIENCE)
        finally:
            client.close()

    def connections(self) -> int:
        """How many clients are connected, without the one that asks."""
        listed = self.do("CLIENT", "LIST").decode().splitlines()
        return len(listed) - 1

    def calls(self) -> int:
        """How many commands it has carried out, without those that ask."""
        stats = self.do("INFO", "commandstats").decode().splitlines()
        return sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in stats
            if line.startswith("cmdstat_")
            and not line.startswith(("cmdstat_hello", "cmdstat_info", "cmdstat_client"))
        )

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it and remove its directory."""
        stop(self.process)
        shutil.rmtree(self.directory, ignore_errors=True)


def start_redis(*options: str, url: str | None = None) -> RedisServer:
    """Start a server that the caller stops; it is stopped at the end of the tests at the latest."""
    return RedisServer(*options, url=url)


@cache
def shared_redis() -> RedisServer:
    """The server that all tests share which need no special one; each test uses `empty` databases."""
    return RedisServer()


def _stop_all() -> None:
    for server in _stopped_at_exit:
        server.stop()


atexit.register(_stop_all)


class Proxy:
    """Stands between a client and a server, and fails when told to.

    Attributes:
        port: where clients connect to.
        mute: drop what the server answers, while commands still reach it.
        delay: seconds that everything takes longer, each way.
    """

    def __init__(self, port: int) -> None:
        self.mute = False
        self.delay = 0.0
        self._target = port
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets += [client, server]
            threading.Thread(target=self._carry, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(server, client, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                if not (answers and self.mute):
                    target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def cut(self) -> None:
        """End every connection."""
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End every connection and take no more."""
        self._listener.close()
        self.cut()
