"""A gevent web server that checks other sites for its visitors, but never more than so many at once.

Every visitor has a green thread of the server's own, as many as there are visitors. What they ask for goes
through one bounded pool, so that a thousand visitors don't become a thousand connections to somebody else:

    python examples/embed_pool/server.py --port 8000 --at-once 20
    curl 'http://127.0.0.1:8000/check?url=https://www.python.org/'
    curl 'http://127.0.0.1:8000/pool'

A visitor waits up to `--patience` seconds for a slot and is then told to come back later. A check that takes
longer than `--limit` seconds is interrupted. SIGTERM lets the checks that run finish.
"""

# ruff: noqa: E402 - patching comes before the other imports

from __future__ import annotations

from gevent import monkey

monkey.patch_all()  # so that urllib waits without blocking the other visitors

import argparse
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gevent
from gevent.event import AsyncResult
from gevent.pywsgi import WSGIServer

import pools

Answer = tuple[str, dict[str, Any]]


class TooSlow(Exception):
    """Raised inside a check that takes too long."""


def check(url: str) -> dict[str, Any]:
    """Ask for the page and say what came of it; ordinary blocking code."""
    began = time.monotonic()
    try:
        with urllib.request.urlopen(url) as response:
            response.read(1)
            outcome: Any = response.status
    except urllib.error.HTTPError as error:
        outcome = error.code
    except (OSError, ValueError) as error:
        outcome = str(error)
    except TooSlow:
        outcome = "too slow"
    return {"url": url, "outcome": outcome, "seconds": round(time.monotonic() - began, 3)}


class Checker:
    """The web application.

    Parameters:
        pool: what the checks run in.
        patience: seconds that a visitor may wait for a slot.
        limit: seconds that a check may take.
    """

    def __init__(self, pool: pools.Pool, patience: float, limit: float) -> None:
        self.pool = pool
        self.patience = patience
        self.limit = limit

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        query = parse_qs(environ["QUERY_STRING"])
        if environ["PATH_INFO"] == "/pool":
            status, body = self.describe()
        elif environ["PATH_INFO"] == "/check" and urlsplit(query.get("url", [""])[0]).scheme in (
            "http",
            "https",
        ):
            status, body = self.check_for_visitor(query["url"][0])
        else:
            status, body = "404 Not Found", {"try": ["/check?url=https://…", "/pool"]}
        start_response(status, [("Content-Type", "application/json"), ("Retry-After", "1")])
        return [json.dumps(body).encode() + b"\n"]

    def check_for_visitor(self, url: str) -> Answer:
        """Check in the pool, and wait for it here, in the visitor's own green thread."""
        if not self.pool.wait_free(self.patience):
            return "503 Service Unavailable", {"error": "too many checks are running: try again later"}
        ended: AsyncResult[pools.Call] = AsyncResult()
        call = self.pool.spawn(check, url, done=ended.set)
        if ended.wait(self.limit) is None:
            self.pool.interrupt(call, TooSlow())
            ended.wait()
        if call.error is not None:
            return "500 Internal Server Error", {"error": repr(call.error)}
        return "200 OK", call.value

    def describe(self) -> Answer:
        """What the pool is doing; it is asked in the visitor's green thread, so a full pool answers too."""
        running = [
            {"url": each.call.args[0], "seconds": round(each.seconds, 3)}
            for each in self.pool.watch().running
        ]
        return "200 OK", {"capacity": self.pool.capacity, "busy": self.pool.busy, "running": running}


def main() -> None:
    """Serve until SIGTERM or Ctrl-C, then let the checks that run finish."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="where to listen; 0 for any free port")
    parser.add_argument("--at-once", type=int, default=20, help="how many checks may run at once")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds that a visitor waits for a slot")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds that a check may take")
    options = parser.parse_args()

    pool = pools.create("gevent", capacity=options.at_once)
    server = WSGIServer(("127.0.0.1", options.port), Checker(pool, options.patience, options.limit), log=None)
    for signum in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(signum, server.stop, 10)
    server.start()
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()  # returns when stopped: no new visitors, those that are here have been answered
    print("all checks finished" if pool.close(timeout=10) else "some checks had to be ended", flush=True)


if __name__ == "__main__":
    main()
