from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from examples.linkcheck.fetch import Dead, Transient, fetch, probe
from examples.linkcheck.server import LocalServer
from tests.examples.oddserver import OddServer, odd_server


@pytest.fixture
def odd() -> Iterator[OddServer]:
    with odd_server() as server:
        yield server


def test_a_page_is_fetched_with_its_kind_and_charset(odd: OddServer) -> None:
    answer = fetch(f"{odd.url}/page", 5)
    assert (answer.status, answer.kind, answer.charset) == (200, "text/html", "utf-8")
    assert b"hello" in answer.body


def test_redirects_are_followed_and_the_end_is_told(odd: OddServer) -> None:
    assert fetch(f"{odd.url}/redirect/redirect/page", 5).url == f"{odd.url}/page"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("status/404", "404 Not Found"), ("status/410", "410 Gone"), ("status/403", "403 Forbidden")],
)
def test_a_refusal_is_final(odd: OddServer, path: str, reason: str) -> None:
    with pytest.raises(Dead, match=reason):
        fetch(f"{odd.url}/{path}", 5)


@pytest.mark.parametrize("path", ["status/500", "status/503", "status/429", "cut/", "reset/"])
def test_what_may_pass_is_told_apart(odd: OddServer, path: str) -> None:
    with pytest.raises(Transient):
        fetch(f"{odd.url}/{path}", 5)


def test_a_redirect_to_itself_is_final(odd: OddServer) -> None:
    odd.RequestHandlerClass.do_GET = lambda self: self._send(302, Location=self.path)  # type: ignore[attr-defined]
    try:
        with pytest.raises(Dead, match="circle"):
            fetch(f"{odd.url}/round", 5)
    finally:
        odd.RequestHandlerClass.do_GET = lambda self: self._answer()  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["slow/", "drip/"])
def test_a_server_that_takes_for_ever_is_given_up(odd: OddServer, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(Transient, match="no answer in time"):
        fetch(f"{odd.url}/{path}", 0.5, limit=10**9)
    assert time.monotonic() - began < 10


def test_no_more_than_the_limit_is_read(odd: OddServer) -> None:
    assert len(fetch(f"{odd.url}/drip/", 5, limit=300_000).body) == 300_000


def test_get_is_tried_where_head_is_refused(odd: OddServer) -> None:
    assert probe(f"{odd.url}/get-only", 5).status == 200
    assert odd.seen == {"HEAD /get-only": 1, "GET /get-only": 1}


def test_a_head_that_says_not_found_is_believed(odd: OddServer) -> None:
    with pytest.raises(Dead, match="404"):
        probe(f"{odd.url}/status/404", 5)
    assert odd.seen == {"HEAD /status/404": 1}


def test_nobody_listening_may_pass() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(Transient, match="refused"):
            fetch(f"http://127.0.0.1:{held.getsockname()[1]}/", 5)


@pytest.mark.parametrize("url", ["http://[oops/x", "http://127.0.0.1:99999/", "http://"])
def test_an_address_that_makes_no_sense_is_final(url: str) -> None:
    with pytest.raises(Dead, match="not a valid address"):
        fetch(url, 5)


def test_spaces_and_letters_beyond_ascii_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "größe 1.html").write_text("hello")
    with LocalServer(tmp_path) as server:
        assert fetch(f"{server.url}größe 1.html", 5).status == 200
        assert fetch(f"{server.url}gr%C3%B6%C3%9Fe%201.html", 5).status == 200


def test_the_local_server_serves_files_directories_and_nothing_above(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file.txt").write_text("text")
    (tmp_path / "index.html").write_text("index")
    with LocalServer(tmp_path) as server:
        assert fetch(server.url, 5).body == b"index"
        assert fetch(f"{server.url}a", 5).url == f"{server.url}a/"
        assert b"file.txt" in fetch(f"{server.url}a/", 5).body
        assert fetch(f"{server.url}a/file.txt", 5).kind == "text/plain"
        with pytest.raises(Dead, match="404"):
            fetch(f"{server.url}b", 5)
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port or 0, timeout=5)
        connection.request("GET", "/../../etc/passwd")
        assert connection.getresponse().status == 400
        connection.close()


def test_the_local_server_holds_a_thousand_late_answers_at_once(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    with LocalServer(tmp_path, latency=1.0) as server, ExitStack() as stack:
        port = urlsplit(server.url).port
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            for _ in range(1000)
        ]
        for one in sockets:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with ThreadPoolExecutor(8) as threads:
            heads = list(threads.map(lambda one: one.recv(12), sockets))
        assert heads == [b"HTTP/1.1 200"] * 1000
        counts = json.loads(fetch(f"{server.url}-/counts", 10).body)
        assert counts["requests"] == 1000
        assert counts["most_connections"] >= 1000
