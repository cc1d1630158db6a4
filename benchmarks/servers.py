"""Private servers on free ports: Redis without persistence, and RabbitMQ as it ships."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.place import Failed
from tests.rabbit import PROGRAMS, RabbitServer, start_rabbitmq

__all__ = ["flush", "forget", "rabbit", "redis"]

CLIENTS = 30_000
STARTING = 10.0
"""Seconds until it must answer."""


@contextmanager
def redis(directory: Path) -> Iterator[str]:
    """Run a Redis server; gives its address.

    Raises:
        Failed: there is none, or it does not answer.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise Failed(
            "redis-server is not installed: apt-get install redis-server, or leave out peers with Redis"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    # Some systems open a connection for each of their slots.
    options += ["--maxclients", str(CLIENTS)]
    with (directory / "redis.log").open("wb") as output:
        server = subprocess.Popen([program, *options, "--dir", str(directory)], stdout=output, stderr=output)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _await(url)
        yield url
    finally:
        server.terminate()
        server.wait()


@contextmanager
def rabbit() -> Iterator[RabbitServer]:
    """Run a RabbitMQ server; each measurement takes an empty virtual host of it.

    Raises:
        Failed: there is none, or it does not answer.
    """
    if not (PROGRAMS / "rabbitmq-server").exists():
        raise Failed(
            "rabbitmq-server is not installed: apt-get install rabbitmq-server, or leave out peers with it"
        )
    try:
        server = start_rabbitmq()
    except AssertionError as error:
        raise Failed(f"rabbitmq-server did not start: {error}") from error
    try:
        yield server
    finally:
        server.stop()


def flush(url: str) -> None:
    """Empty it."""
    if not _ask(url, b"FLUSHALL\r\n").startswith(b"+OK"):
        raise Failed(f"the Redis server at {url} could not be emptied")


def forget(server: RabbitServer, urls: Sequence[str]) -> None:
    """Remove virtual hosts and what was left in them, before they burden what is measured next.

    Raises:
        Failed: the server did not do it in time.
    """
    names = ", ".join(f'<<"{url.rpartition("/")[2]}">>' for url in urls)
    try:
        server.control("eval", f'[rabbit_vhost:delete(V, <<"benchmarks">>) || V <- [{names}]].')
    except (subprocess.SubprocessError, OSError) as error:
        raise Failed(f"the RabbitMQ server did not remove its virtual hosts: {error}") from error


def _ask(url: str, command: bytes) -> bytes:
    port = int(url.rpartition(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=STARTING) as connection:
        connection.sendall(command)
        return connection.recv(100)


def _await(url: str) -> None:
    deadline = time.monotonic() + STARTING
    while True:
        try:
            if _ask(url, b"PING\r\n").startswith(b"+PONG"):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise Failed(f"the Redis server does not answer: {error}") from error
        time.sleep(0.02)
