"""A plugin of the suite's pytest: its session's worker is a process of its own, started by a command.

``SUITE_WORKER`` is the command, and ``SUITE_LOG`` the file that gets what it prints. Its node has the name
that the suite expects of a worker in its own process.
"""

from __future__ import annotations

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

PATIENCE = 60.0


@contextmanager
def start_worker(app: Any, **_: Any) -> Iterator[SimpleNamespace]:
    """Stands in for `celery.contrib.testing.worker.start_worker`."""
    with open(os.environ["SUITE_LOG"], "ab") as log:
        command = [*shlex.split(os.environ["SUITE_WORKER"]), "-n", anon_nodename()]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_it_serves(app, process)
        yield SimpleNamespace(app=app, hostname="outside", process=process)
        # The suite's last words: a worker that died meanwhile would otherwise go unnoticed.
        assert process.poll() is None, f"the worker has ended with {process.returncode}"
    finally:
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


worker.start_worker = start_worker
