"""A time limit ends a task the same way under every pool, and as Celery's prefork pool ends it."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from greenq import GreenQ
from greenq.message import Depth
from tests.greenq.worker.conftest import HERE
from tests.processes import stop
from tests.servers import shared_redis
from tests.waiting import PATIENCE, until

SOFT, HARD = {"soft_time_limit": 0.4}, {"time_limit": 0.6}
BOTH = SOFT | {"time_limit": 1.2}
FAR = {"time_limit": 60.0}
AMPLE = FAR | {"soft_time_limit": 50.0}

ROWS = {
    "sleeps, soft": ("sleeps", SOFT, "SoftTimeLimitExceeded"),
    "reads, soft": ("reads", SOFT, "SoftTimeLimitExceeded"),
    "spins, soft": ("spins", SOFT, "SoftTimeLimitExceeded"),
    "catches, soft": ("catches", SOFT, "SUCCESS"),
    "survives, soft": ("survives", SOFT, "SUCCESS"),
    "turns, soft": ("turns", SOFT, "ValueError"),
    "cleans, soft": ("cleans", SOFT, "SoftTimeLimitExceeded"),
    "breaks, soft": ("breaks", SOFT, "KeyError"),
    "quick": ("quick", AMPLE, "SUCCESS"),
    "declared, soft": ("soft", {}, "SoftTimeLimitExceeded"),
    "sleeps, hard": ("sleeps", HARD, "TimeLimitExceeded"),
    "reads, hard": ("reads", HARD, "TimeLimitExceeded"),
    "spins, hard": ("spins", HARD, "TimeLimitExceeded"),
    "swallows, hard": ("swallows", HARD, "TimeLimitExceeded"),
    "swallows all, hard": ("swallows_all", HARD, "TimeLimitExceeded"),
    "survives, hard": ("survives", HARD, "TimeLimitExceeded"),
    "catches, hard": ("catches", HARD, "TimeLimitExceeded"),
    "cleans, hard": ("cleans", HARD, "TimeLimitExceeded"),
    "breaks, hard": ("breaks", HARD, "TimeLimitExceeded"),
    "declared, hard": ("hard", {}, "TimeLimitExceeded"),
    "sleeps, both": ("sleeps", SOFT | FAR, "SoftTimeLimitExceeded"),
    "catches, both": ("catches", SOFT | FAR, "SUCCESS"),
    "cleans, both": ("cleans", SOFT | FAR, "SoftTimeLimitExceeded"),
    "swallows, both": ("swallows", BOTH, "TimeLimitExceeded"),
    "swallows all, both": ("swallows_all", BOTH, "TimeLimitExceeded"),
}
"""What is run → its task, the limits that it is sent with, and what becomes of it."""

OURS = {
    "awaits, soft": ("awaits", SOFT, "SoftTimeLimitExceeded"),
    "awaits catching, soft": ("awaits_catching", SOFT, "SUCCESS"),
    "awaits, hard": ("awaits", HARD, "TimeLimitExceeded"),
    "awaits deaf, hard": ("awaits_deaf", HARD, "TimeLimitExceeded"),
    "kept, hard": ("kept", {}, "TimeLimitExceeded"),
}
"""What Celery does not have. It ends as there the same without ``async``, or another with such a limit."""

ENOUGH = ("sleeps", "swallows_all")
"""The hard rows that Celery, which is slow at them, is asked for."""

POOLS = {
    "gevent": ("-c", "40"),
    "eventlet": ("-c", "40"),
    "prefork": ("-c", "6"),
    "threads": ("-c", "40"),
    "asyncio": ("-c", "40"),
}
SOFT_ONLY = ("threads",)
NAPPING = ("threads", "asyncio")
"""Where plain functions run in threads: a soft limit is raised between two blocking calls."""


def rows_of(pool: str) -> dict[str, tuple[str, dict[str, float], str]]:
    """What can be asked of a pool: a green thread that spins is another matter."""
    rows = ROWS | OURS
    if pool in ("gevent", "eventlet"):
        rows = {name: row for name, row in rows.items() if row[0] != "spins"}
    if pool in SOFT_ONLY:
        rows = {name: row for name, row in rows.items() if row[1] == SOFT or row[0] == "soft"}
    return rows


@contextmanager
def running(path: Path, side: str, url: str, *options: str, **env: str) -> Iterator[Path]:
    """A worker of either side, until the end of the block; its output."""
    output = path / f"{side}.log"
    environment = os.environ | env | {
        "LIMITED_BROKER": url, "LIMITED_SIDE": side, "PYTHONPATH": str(HERE), "C_FORCE_ROOT": "1",
    }  # fmt: skip
    words = [side] if side == "greenq" else [side, "-A", "limited"]
    words += ["worker", *(["-A", "limited"] if side == "greenq" else []), *options]
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=path, env=environment, stdout=log, stderr=log
        )
    ready = "config" if side == "greenq" else "ready."
    try:
        until(lambda: ready in output.read_text() or process.poll() is not None, what=f"{side} is up")
        assert process.poll() is None, output.read_text()
        yield output
    finally:
        stop(process)


class Sender:
    """Sends rows to whoever works at an address, from greenq's and from Celery's client in turn."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.greenq = GreenQ("limits", broker=url, results=url)
        self.celery = Celery("limits", broker=url, backend=url, set_as_current=False)

    def send(self, rows: dict[str, tuple[str, dict[str, float], str]]) -> dict[str, str]:
        """Send each row; their ids."""
        producers = itertools.cycle([self.greenq, self.celery])
        return {
            name: next(producers).send_task(f"limited.{task}", **options).id
            for name, (task, options, _) in rows.items()
        }

    def ends(self, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
        """Wait for all of them; what is stored, without what differs from run to run."""
        results = [self.greenq.AsyncResult(id) for id in ids.values()]
        self.greenq.wait(results, timeout=2 * PATIENCE, propagate=False)
        return {name: self.record(id) for name, id in ids.items()}

    def record(self, id: str) -> dict[str, Any]:
        """What is stored of one."""
        record = json.loads(shared_redis().do("GET", f"celery-task-meta-{id}", url=self.url))
        trace = record.pop("traceback")
        del record["task_id"], record["date_done"]
        lines = trace.strip().splitlines() if trace else []
        # The last line has the exception's module, which is each side's own.
        return record | {
            "traceback": [lines[0], re.sub(r"^[\w.]*\.(\w+: )", r"\1", lines[-1])] if lines else trace
        }

    def close(self) -> None:
        """Let go of connections."""
        self.greenq.close()
        self.celery.close()


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender(shared_redis().empty())
    yield sender
    sender.close()


@pytest.fixture(scope="module")
def celery(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What Celery's prefork pool makes of the rows; of one for all that a hard limit ends."""
    sender = Sender(shared_redis().empty())
    ids = sender.send({name: row for name, row in ROWS.items() if row[1] != HARD or row[0] in ENOUGH})
    options = ("-P", "prefork", "-c", "18", "-l", "info", "--without-gossip", "--without-mingle")
    with running(tmp_path_factory.mktemp("celery"), "celery", sender.url, *options):
        ends = sender.ends(ids)
    sender.close()
    return ends


@pytest.mark.parametrize("pool", POOLS)
def test_every_limit_ends_a_task_as_celery_does(
    pool: str, sender: Sender, celery: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    rows = rows_of(pool)
    env = {name: "1" for name, pools in (("LIMITED_SOFT_ONLY", SOFT_ONLY), ("LIMITED_NAPS", NAPPING))
           if pool in pools}  # fmt: skip
    ids = sender.send(rows)
    with running(tmp_path, "greenq", sender.url, "-P", pool, *POOLS[pool], **env) as output:
        ends = sender.ends(ids)
        depth = sender.greenq.broker.depth
        kept = Depth(dead=int("kept, hard" in rows))
        until(lambda: depth()["celery"] == kept, what="every message is settled")
    for name, (_, _, expected) in rows.items():
        end = ends[name]
        assert (end["status"] if end["status"] == "SUCCESS" else end["result"]["exc_type"]) == expected, name
        like = {"awaits, soft": "sleeps, soft", "awaits catching, soft": "catches, soft"}.get(name, name)
        assert end == (celery[like] if like in celery else celery["sleeps, hard"]), name
    log = output.read_text()
    for name, id in ids.items():
        told = len(re.findall(rf"\[{id}\] (failed|was ended)", log))
        assert told == (ends[name]["status"] == "FAILURE"), f"{name} has {told} ends"


@pytest.mark.parametrize("pool", ["gevent", "prefork"])
def test_limits_of_the_file_hold_for_tasks_that_have_none(pool: str, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "greenq.yaml").write_text("tasks: {soft_time_limit: 400ms, time_limit: 4s}\n")
    rows = {name: (task, {}, expected) for name, (task, given, expected) in ROWS.items()
            if given == BOTH or (given == SOFT and task in ("sleeps", "catches"))}  # fmt: skip
    ids = sender.send(rows)
    with running(tmp_path, "greenq", sender.url, "-P", pool, *POOLS[pool]):
        ends = sender.ends(ids)
    for name, (_, _, expected) in rows.items():
        end = ends[name]
        assert (end["status"] if end["status"] == "SUCCESS" else end["result"]["exc_type"]) == expected, name
