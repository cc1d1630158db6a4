"""What a task holds comes free when it is ended from outside, in whatever process it ran."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenq import AsyncResult, GreenQ
from greenq.errors import AlreadyQueued, TimeLimitExceeded
from tests.waiting import PATIENCE, until

TASKS = """
import time
from greenq import AsyncResult, GreenQ

app = GreenQ("endless")

@app.task(concurrency_limit=1, unique="how", time_limit=1)
def hang(how):
    while True:
        if how == "asleep":
            time.sleep(0.1)
"""


@contextmanager
def command(directory: Path, *arguments: str) -> Iterator[GreenQ]:
    """A worker, and an application that sends to it; slots of a lost process would be taken for a minute."""
    (directory / "endless.py").write_text(TASKS)
    url = f"sqlite:///{directory}/greenq.db"
    env = {**os.environ, "GREENQ_BROKER_URL": url, "GREENQ_RESULTS_URL": url, "GREENQ_WORKER_LEASE": "2m"}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "greenq", "worker", "-A", "endless", "-c", "2", *arguments],
            cwd=directory, env=env, stdout=log, stderr=log,
        )  # fmt: skip
    app = GreenQ("sender", broker=url, results=url)
    try:
        yield app
    finally:
        app.close()
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize(("pool", "hows"), [("prefork", ["asleep", "busy"]), ("gevent", ["asleep", "busy"])])
def test_a_task_that_ran_past_its_hard_limit_holds_nothing_any_more(
    pool: str, hows: list[str], tmp_path: Path
) -> None:
    with command(tmp_path, "--pool", pool) as app:
        # Each needs the one slot, and the key that its predecessor held.
        for how in ("busy", "asleep", "busy"):
            sent: list[AsyncResult] = []

            def accepted(how: str = how, sent: list[AsyncResult] = sent) -> bool:
                try:
                    sent.append(app.send_task("endless.hang", kwargs={"how": how}, unique="how"))
                except AlreadyQueued:
                    return False
                return True

            until(accepted, f"the key of {how} is free")
            with pytest.raises(TimeLimitExceeded):
                sent[0].get(timeout=PATIENCE)
