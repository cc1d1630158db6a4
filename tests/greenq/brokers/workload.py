"""What a producer does to a worker of `interop.greenq_side`, and the same misfortunes for every server."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil

from greenq import GreenQ
from tests.servers import Proxy
from tests.waiting import PATIENCE, until

__all__ = ["answers_at_once", "results", "send", "with_killed_processes", "with_lost_connections"]


def send(app: GreenQ, count: int, start: int = 0) -> list[str]:
    """Send additions; their ids."""
    add = app.tasks["interop.add"]
    return [result.id for result in app.send_many(add.call(start + n, 1) for n in range(count))]


def results(app: GreenQ, names: list[str]) -> dict[str, object]:
    """The sums that have come back."""
    assert app.results is not None
    return {
        id: found.value for id, found in app.results.get(names, PATIENCE).items() if found.state == "SUCCESS"
    }


def answers_at_once(app: GreenQ) -> None:
    """Call twenty times, one after the other."""
    trips = []
    for number in range(20):
        started = time.perf_counter()
        app.tasks["interop.add"].delay(number, 1).get(timeout=PATIENCE)
        trips.append(time.perf_counter() - started)
    assert sorted(trips)[10] < 0.2, trips


def with_killed_processes(app: GreenQ, supervisor: subprocess.Popen[bytes]) -> None:
    """Send while the worker's processes are killed; all of it is done in the end."""
    names: list[str] = []
    for round_ in range(4):
        names += send(app, 500, round_ * 500)
        time.sleep(0.05 * round_)
        for child in psutil.Process(supervisor.pid).children():
            os.kill(child.pid, signal.SIGKILL)
        until(lambda: psutil.Process(supervisor.pid).children(), "the supervisor's replacing it")
    until(lambda: len(results(app, names)) == 2000, "the end of the work")
    assert sorted(int(str(v)) for v in results(app, names).values()) == list(range(1, 2001))


def with_lost_connections(app: GreenQ, proxy: Proxy) -> None:
    """Send while the worker loses its connections; all of it is done in the end."""
    names: list[str] = []
    for round_ in range(50):
        names += send(app, 60, round_ * 60)
        proxy.cut()
        time.sleep(0.03)
    until(lambda: len(results(app, names)) == 3000, "the end of the work")
