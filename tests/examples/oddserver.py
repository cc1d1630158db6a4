"""A web server that misbehaves in every way that a link check must bear."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["OddServer", "odd_server"]


class OddServer(ThreadingHTTPServer):
    """Counts requests by method and path."""

    daemon_threads = True
    request_queue_size = 256
    seen: Counter[str]
    slow: threading.Event
    counting: threading.Lock
    at_once: int
    most_at_once: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: OddServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def handle(self) -> None:
        with self.server.counting:
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            super().handle()
        finally:
            with self.server.counting:
                self.server.at_once -= 1

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        self.server.seen[f"{self.command} {self.path}"] += 1
        times = self.server.seen[f"{self.command} {self.path}"]
        name, _, rest = self.path.lstrip("/").partition("/")
        if name == "status":
            self._send(int(rest))
        elif name == "flaky":
            self._send(200 if times >= 3 else 503, RetryAfter="0")
        elif name == "get-only":
            self._send(200 if self.command == "GET" else 405)
        elif name == "redirect":
            self._send(302, Location=f"/{rest}")
        elif name == "slow":
            self.server.slow.wait(30)
        elif name == "drip":
            self._drip()
        elif name == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"<a")
        elif name == "reset":
            self.close_connection = True
        else:
            self._send(200, body=b"<h1 id=x>hello</h1><a href=/status/404>x</a>")

    def _send(self, status: int, *, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for header, value in headers.items():
            self.send_header("Retry-After" if header == "RetryAfter" else header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.slow.wait(0.05):
            self.wfile.write(b"x" * 100_000)


@contextmanager
def odd_server() -> Iterator[OddServer]:
    """The server, in threads of this process."""
    server = OddServer(("127.0.0.1", 0), _Handler)
    server.seen = Counter()
    server.slow = threading.Event()
    server.counting = threading.Lock()
    server.at_once = server.most_at_once = 0
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.slow.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
