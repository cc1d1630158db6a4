"""Ping a worker whose pool is full, after each of many lost connections: how soon it answers.

    python -m tests.chaos.pings --broker redis --cuts 50

All slots run tasks that sleep. Each time all of the worker's connections are ended (on Redis by ``CLIENT
KILL``, of RabbitMQ on the way there), it is asked until it answers; then how long one more ping takes is
measured. Prints the longest and the median; exits with 1 if one took longer than a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from greenq import GreenQ
from greenq.errors import GreenqError
from tests.processes import stop
from tests.rabbit import shared_rabbit
from tests.servers import Proxy, start_redis
from tests.waiting import PATIENCE, until

__all__ = ["BROKERS", "main", "pings"]

BROKERS = ("redis", "amqp")
ROOT = Path(__file__).parents[2]
NODE = "pinged@test"
SLOTS = 10
LONGEST = 1.0
"""Seconds."""
ATTEMPT = 0.2
"""Seconds after which a worker that may not have heard the question is asked again."""


@contextmanager
def _server(broker: str) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Where the worker finds it, where who asks does, and what ends the worker's connections."""
    if broker == "redis":
        server = start_redis()

        def kill() -> None:
            for kind in ("normal", "pubsub"):
                server.do("CLIENT", "KILL", "TYPE", kind)

        try:
            yield server.url, server.url, kill
        finally:
            server.stop()
        return
    rabbit = shared_rabbit()
    url = rabbit.empty()
    proxy = Proxy(rabbit.port)
    try:
        yield url.replace(f":{rabbit.port}/", f":{proxy.port}/"), url, proxy.cut
    finally:
        proxy.close()


@contextmanager
def _worker(url: str) -> Iterator[None]:
    environment = {
        **os.environ, "STEERED_URL": url, "STEERED_RESULTS": url.replace("amqp://", "rpc://"),
        "PYTHONPATH": str(ROOT), "GREENQ_WORKER_SHUTDOWN_TIMEOUT": "0",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "greenq", "worker", "-A", "tests.greenq.control.works", "-n", NODE,
                 "-c", str(SLOTS)],
                cwd=directory, env=environment, stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            until(lambda: "config" in log.read_text() or process.poll() is not None, "the worker's start")
            assert process.poll() is None, log.read_text()
            yield
            assert process.poll() is None, log.read_text()
        finally:
            stop(process, 20)


def _answers(app: GreenQ, timeout: float) -> bool:
    with suppress(GreenqError):  # its own connections may just have been ended, too
        return bool(app.control.broadcast("ping", {}, [NODE], reply=True, timeout=timeout, limit=1))
    return False


def _running_tasks(app: GreenQ) -> int:
    return len((app.control.inspect([NODE], timeout=PATIENCE).active() or {}).get(NODE, ()))


def pings(broker: str, cuts: int) -> list[float]:
    """Seconds that a ping took after each of so many times that a full worker lost all its connections."""
    took: list[float] = []
    with ExitStack() as held:
        inner, outer, cut = held.enter_context(_server(broker))
        app = GreenQ("asking", broker=outer)
        held.callback(app.close)
        held.enter_context(_worker(inner))
        for _ in range(SLOTS):
            app.send_task("works.sleep", (3600,), ignore_result=True)
        until(lambda: _running_tasks(app) == SLOTS, "a full pool")
        for _ in range(cuts):
            cut()
            until(lambda: _answers(app, ATTEMPT), "an answer")
            began = time.monotonic()
            assert _answers(app, PATIENCE), "who has just answered does not answer"
            took.append(time.monotonic() - began)
    return took


def main() -> int:
    """Measure; 0 if no ping took longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--broker", choices=BROKERS, default="redis")
    parser.add_argument("--cuts", type=int, default=50)
    given = parser.parse_args()
    began = time.monotonic()
    took = pings(given.broker, given.cuts)
    print(
        f"{given.broker}: {len(took)} pings, each after all connections were ended: longest "
        f"{max(took) * 1000:.1f} ms, median {statistics.median(took) * 1000:.1f} ms; "
        f"all within {time.monotonic() - began:.0f} s"
    )
    return 1 if max(took) > LONGEST else 0


if __name__ == "__main__":
    raise SystemExit(main())
