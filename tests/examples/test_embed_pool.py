"""The example of a pool in a gevent web server, with real visitors and a real slow site."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

SERVER = Path(__file__).parents[2] / "examples" / "embed_pool" / "server.py"


class SlowSite(ThreadingHTTPServer):
    """Answers when `gate` is open, and counts how many ask at once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SlowAnswer)
        self.gate = threading.Event()
        self.lock = threading.Lock()
        self.asking = 0
        self.most = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def wait_for(self, asking: int) -> None:
        wait_until(lambda: self.asking >= asking)


class SlowAnswer(BaseHTTPRequestHandler):
    server: SlowSite

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asking += 1
            self.server.most = max(self.server.most, self.server.asking)
        self.server.gate.wait(30)
        with self.server.lock:
            self.server.asking -= 1
        self.send_response(418)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def wait_until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def site() -> Iterator[SlowSite]:
    site = SlowSite()
    yield site
    site.gate.set()
    site.shutdown()
    site.server_close()


@contextmanager
def checker(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, str(SERVER), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def ask(address: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(address, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_many_visitors_never_become_more_checks_than_the_pool_has_room_for(site: SlowSite) -> None:
    with checker("--at-once", "3", "--patience", "30") as (_, address), ThreadPoolExecutor(12) as visitors:
        answers = [visitors.submit(ask, f"{address}check?url={quote(site.url)}") for _ in range(12)]
        site.wait_for(3)
        status, pool = ask(f"{address}pool")
        assert status == 200
        assert (pool["capacity"], pool["busy"]) == (3, 3)
        assert [each["url"] for each in pool["running"]] == [site.url] * 3
        site.gate.set()
        assert [answer.result()[0] for answer in answers] == [200] * 12
        assert {answer.result()[1]["outcome"] for answer in answers} == {418}
    assert site.most == 3


def test_who_waits_too_long_for_a_slot_is_sent_away(site: SlowSite) -> None:
    with checker("--at-once", "1", "--patience", "0.1") as (_, address), ThreadPoolExecutor(1) as visitors:
        first = visitors.submit(ask, f"{address}check?url={quote(site.url)}")
        site.wait_for(1)
        status, answer = ask(f"{address}check?url={quote(site.url)}")
        assert status == 503
        assert "try again" in answer["error"]
        site.gate.set()
        assert first.result()[0] == 200


def test_a_check_that_takes_too_long_is_interrupted(site: SlowSite) -> None:
    with checker("--limit", "0.2") as (_, address):
        status, answer = ask(f"{address}check?url={quote(site.url)}")
        assert (status, answer["outcome"]) == (200, "too slow")


def test_a_stopped_server_answers_those_it_has_let_in(site: SlowSite) -> None:
    with checker() as (process, address), ThreadPoolExecutor(4) as visitors:
        answers = [visitors.submit(ask, f"{address}check?url={quote(site.url)}") for _ in range(4)]
        site.wait_for(4)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(address))
        site.gate.set()
        assert [answer.result()[0] for answer in answers] == [200] * 4
        output, _ = process.communicate(timeout=30)
        assert (output, process.returncode) == ("all checks finished\n", 0)


def refuses(address: str) -> bool:
    try:
        ask(f"{address}pool")
    except (urllib.error.URLError, OSError):
        return True
    return False
