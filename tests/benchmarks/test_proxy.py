"""The network that delays keeps order, whole bytes and both ends of a connection."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.proxy import delaying, limits

PATIENCE = 60.0


@contextmanager
def served(answer: bytes | None = None) -> Iterator[str]:
    """A server for one connection: says what it is told to, or what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.settimeout(PATIENCE)
                if answer is not None:
                    client.sendall(answer)
                    return
                while piece := client.recv(65536):
                    client.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}/host"
        thread.join(PATIENCE)
        assert not thread.is_alive()


def dial(url: str) -> socket.socket:
    port = int(url.rpartition(":")[2].partition("/")[0])
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.settimeout(PATIENCE)
    return connection


def everything(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(1 << 20):
        found += piece
    return found


@pytest.mark.parametrize("delay", [0.0, 0.02])
def test_what_is_said_arrives_whole_and_comes_back_later(delay: float) -> None:
    payload = os.urandom(3_000_000)
    with served() as server, delaying(server, delay) as url, dial(url) as connection:
        assert url.startswith("amqp://guest:guest@127.0.0.1:")
        assert url.endswith("/host")
        began = time.monotonic()
        sender = threading.Thread(target=connection.sendall, args=(payload,))
        sender.start()
        found = b""
        while len(found) < len(payload):
            found += connection.recv(1 << 20)
        sender.join()
        assert found == payload
        assert time.monotonic() - began >= 2 * delay
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_the_last_words_of_a_server_that_hangs_up_arrive() -> None:
    answer = os.urandom(1_000_000)
    with served(answer) as server, delaying(server, 0.01) as url, dial(url) as connection:
        assert everything(connection) == answer


def test_a_client_that_vanishes_takes_only_its_own_connection_with_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        with delaying(target, 0.005) as url:
            gone = dial(url)
            first, _ = server.accept()
            first.settimeout(PATIENCE)
            gone.close()
            assert first.recv(1) == b""
            first.close()
            with dial(url) as stays:
                second, _ = server.accept()
                with second:
                    second.settimeout(PATIENCE)
                    stays.sendall(b"still here")
                    assert second.recv(100) == b"still here"


def test_a_server_that_is_not_there_is_noticed_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with delaying(f"redis://127.0.0.1:{port}/0", 0.0) as url, dial(url) as connection:
        assert connection.recv(1) == b""


def test_its_own_limits_are_measured() -> None:
    found = limits(0.05)
    assert found["turns"] > 0
    assert found["mib"] > 0
