"""GET /live and /ready, and clients that mean no good."""

from __future__ import annotations

import errno
import http.client
import itertools
import json
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenq.errors import ConfigError
from greenq.worker.supervision import health
from greenq.worker.supervision.health import MOST_CONNECTIONS, Health, address_of
from tests.greenq.worker.conftest import Shop
from tests.servers import free_port, start_redis
from tests.waiting import PATIENCE, until


def raise_emfile(*_: object) -> object:
    raise OSError(errno.EMFILE, "too many open files")


class Loop:
    """Turns as the supervisor's loop does, in a thread."""

    def __init__(self, place: str) -> None:
        self.well = True
        answers = {"/live": lambda: (True, {"live": True}), "/ready": lambda: (self.well, {"n": 1})}
        self.health = Health(place, answers)
        self.selector = selectors.DefaultSelector()
        self.health.attach(self.selector)
        self.turning = True
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while self.turning:
            for key, _ in self.selector.select(0.02):
                key.data()
            self.health.tidy()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.health.address[:2], PATIENCE)

    def ask(self, request: bytes) -> bytes:
        """All that is answered to `request`."""
        with self.connect() as client:
            client.sendall(request)
            received = b""
            while data := client.recv(4096):
                received += data
            return received

    def close(self) -> None:
        self.turning = False
        self.thread.join()
        self.health.close()
        self.selector.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop("127.0.0.1:0")
    yield loop
    loop.close()


def status(answer: bytes) -> int:
    return int(answer.split(None, 2)[1])


def probe(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


class TestTheAnswers:
    def test_get_shows_what_is_and_its_status_says_whether_all_is_well(self, loop: Loop) -> None:
        port = loop.health.address[1]
        assert probe(port, "/live") == (200, {"live": True})
        assert probe(port, "/ready?verbose=1") == (200, {"n": 1})
        loop.well = False
        assert probe(port, "/ready") == (503, {"n": 1})
        assert probe(port, "/else")[0] == 404

    def test_head_has_the_same_head_and_no_body(self, loop: Loop) -> None:
        get = loop.ask(b"GET /live HTTP/1.0\r\n\r\n")
        head = loop.ask(b"HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert get == head + b'{"live": true}\n'

    def test_other_methods_are_refused(self, loop: Loop) -> None:
        answer = loop.ask(b"POST /live HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert status(answer) == 405
        assert b"Allow: GET, HEAD" in answer

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"hello\r\n",
            b"GET\r\n",
            b"GET /live\r\n\r\n",
            b"GET live HTTP/1.1\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"\r\n\r\n",
            b"\x00" * 50_000,
            b"A" * 50_000,
        ],
    )
    def test_garbage_is_refused(self, loop: Loop, garbage: bytes) -> None:
        assert status(loop.ask(garbage)) == 400
        assert status(loop.ask(b"GET /live HTTP/1.1\r\n\r\n")) == 200

    @pytest.mark.parametrize("start", [b"GET /", b"GET /live HTTP/1.1\r\nX: "])
    def test_what_is_too_long_is_refused(self, loop: Loop, start: bytes) -> None:
        assert status(loop.ask(start + b"a" * 9000)) == 431

    def test_a_request_may_come_in_pieces(self, loop: Loop) -> None:
        with loop.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"GET /live HTTP/1.1\r\n\r\n":
                client.sendall(bytes([byte]))
            assert status(client.recv(4096)) == 200


class TestClientsThatMeanNoGood:
    def test_a_slow_one_is_dropped(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "CLIENT_TIME", 0.1)
        with loop.connect() as client:
            client.sendall(b"GET /li")
            assert client.recv(100) == b""

    def test_many_idle_ones_do_not_keep_a_probe_out(self, loop: Loop) -> None:
        idle = [loop.connect() for _ in range(3 * MOST_CONNECTIONS)]
        assert status(loop.ask(b"GET /live HTTP/1.1\r\n\r\n")) == 200
        assert len(loop.health._connections) <= MOST_CONNECTIONS
        for client in idle:
            client.close()
        until(lambda: not loop.health._connections)

    def test_without_a_free_file_it_rests_and_answers_later(
        self, loop: Loop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "AGAIN_AFTER", 0.3)
        listener = loop.health._listener
        refused: list[float] = []

        class Exhausted:
            def accept(self) -> object:
                refused.append(time.monotonic())
                if len(refused) > 3:
                    return listener.accept()
                raise OSError(errno.EMFILE, "too many open files")

            def __getattr__(self, name: str) -> Any:
                return getattr(listener, name)

        monkeypatch.setattr(loop.health, "_listener", Exhausted())
        assert b"200 OK" in loop.ask(b"GET /live HTTP/1.1\r\n\r\n")
        assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(refused))

    def test_while_it_rests_it_can_be_closed(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "MOST_CONNECTIONS", 1)
        monkeypatch.setattr(loop.health, "_again_at", None)
        loop.turning = False
        loop.thread.join()
        with loop.connect():
            monkeypatch.setattr(socket.socket, "accept", raise_emfile)
            loop.health._accept()
        assert loop.health.due
        loop.health.close()
        assert not loop.selector.get_map()

    def test_one_that_resets_its_connection_ends_nothing(self, loop: Loop) -> None:
        for _ in range(5):
            with loop.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.sendall(b"GET /live HTTP/1.1\r\n\r\n")
        assert status(loop.ask(b"GET /live HTTP/1.1\r\n\r\n")) == 200


class TestThePlace:
    @pytest.mark.parametrize("place", ["8000x", "localhost", "1.2.3.4:99999", "host:-1", ":"])
    def test_nonsense_is_named(self, place: str) -> None:
        with pytest.raises(ConfigError, match="host:port"):
            address_of(place)

    def test_an_address_of_version_six_stands_in_brackets(self) -> None:
        family, address = address_of("[::1]:8000")
        assert family == socket.AF_INET6
        assert address[:2] == ("::1", 8000)

    def test_a_place_in_use_is_named(self, loop: Loop) -> None:
        with pytest.raises(ConfigError, match=r"can't listen on .* in use"):
            Health(f"127.0.0.1:{loop.health.address[1]}", {})

    def test_a_unix_socket_works_is_not_shared_and_is_taken_away(self, tmp_path: Path) -> None:
        path = tmp_path / "health.sock"
        loop = Loop(str(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b"GET /live HTTP/1.1\r\n\r\n")
            assert status(client.recv(4096)) == 200
        with pytest.raises(ConfigError, match="in use"):
            Health(str(path), {})
        loop.close()
        assert not path.exists()

    def test_a_unix_socket_that_was_left_behind_is_taken_over_and_a_file_is_not(self, tmp_path: Path) -> None:
        path = tmp_path / "health.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        Loop(f"unix:{path}").close()
        path.write_text("precious")
        with pytest.raises(ConfigError, match="can't listen"):
            Health(str(path), {})
        assert path.read_text() == "precious"


class TestTheCommand:
    def test_it_is_ready_once_a_worker_is_up(self, shop: Shop) -> None:
        port = free_port()
        worker = shop.worker("-c", "5", "--health", f"127.0.0.1:{port}")
        until(lambda: probe(port, "/ready")[0] == 200)
        live, shown = probe(port, "/live")
        assert live == 200
        assert [about["pid"] for about in shown["workers"]] == worker.children()
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        until(lambda: worker.children() not in ([], [child]))
        until(lambda: probe(port, "/ready")[0] == 200)

    def test_a_stopping_one_is_live_and_not_ready(self, shop: Shop) -> None:
        port = free_port()
        worker = shop.worker("-c", "5", "--health", f"127.0.0.1:{port}")
        shop.send("nap", 60, shop.ledger, "long")
        until(lambda: shop.lines() == ["start long"])
        until(lambda: probe(port, "/ready")[0] == 200)
        worker.signal(signal.SIGTERM)
        until(lambda: probe(port, "/ready")[0] == 503)
        assert probe(port, "/live")[0] == 200

    def test_without_its_broker_it_is_live_and_not_ready(self, shop: Shop) -> None:
        server = start_redis()
        port = free_port()
        shop.worker(
            "-c", "5", "--health", f"127.0.0.1:{port}",
            env={"GREENQ_BROKER_URL": server.url, "GREENQ_WORKER_LEASE": "3s"},
        )  # fmt: skip
        until(lambda: probe(port, "/ready")[0] == 200)
        server.kill()
        until(lambda: probe(port, "/ready")[0] == 503)
        assert probe(port, "/live")[0] == 200
        server.start()
        until(lambda: probe(port, "/ready")[0] == 200)
        server.stop()
