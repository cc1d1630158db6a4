"""A plugin of the suite's pytest: its session's worker is a process of its own, started by a command.

``SUITE_WORKER`` is the command, and ``SUITE_LOG`` the file that gets what it prints. Its node has the name
that the suite expects of a worker in its own process. What comes of the tests, and of the worker's processes,
is appended to the file ``SUITE_OUTCOMES``: see `tests.celery_suite.outcomes`.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from celery.contrib.testing import worker  # type: ignore[import-untyped]
from celery.utils.nodenames import anon_nodename  # type: ignore[import-untyped]

from tests.celery_suite.family import Family

PATIENCE = 60.0
families: list[Family] = []


def note(**told: Any) -> None:
    """Append it to the outcomes."""
    with open(os.environ["SUITE_OUTCOMES"], "a") as file:
        file.write(json.dumps(told) + "\n")


@contextmanager
def start_worker(app: Any, **_: Any) -> Iterator[SimpleNamespace]:
    """Stands in for `celery.contrib.testing.worker.start_worker`."""
    with open(os.environ["SUITE_LOG"], "ab") as log:
        command = [*shlex.split(os.environ["SUITE_WORKER"]), "-n", anon_nodename()]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_it_serves(app, process)
        families.append(Family(process.pid))
        note(family=families[-1].pids)
        yield SimpleNamespace(app=app, hostname="outside", process=process)
    finally:
        look("the last test")
        families.clear()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_it_serves(app: Any, process: subprocess.Popen[bytes]) -> None:
    """Until it has run a task."""
    ping = app.send_task("t.integration.tasks.identity", ("here",))
    deadline = time.monotonic() + PATIENCE
    while not ping.ready():
        assert process.poll() is None, f"the worker has ended with {process.returncode}"
        assert time.monotonic() < deadline, "the worker takes no tasks"
        time.sleep(0.1)


def look(test: str) -> None:
    """Note which of the worker's processes have died since the last look."""
    for family in families:
        if dead := family.dead():
            note(dead=dead, test=test)


def pytest_runtest_logreport(report: Any) -> None:
    """Note what came of a test's phase; of one of its subtests, too."""
    name = report.nodeid.removeprefix("t/integration/")
    outcome = report.outcome
    if hasattr(report, "wasxfail") and outcome in ("passed", "skipped"):
        outcome = "xfailed" if outcome == "skipped" else "xpassed"
    note(test=name, outcome=outcome)
    if report.when == "call":
        look(name)


worker.start_worker = start_worker
