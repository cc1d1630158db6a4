"""A worker at work among spoiled messages, and what became of each of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from greenq import GreenQ
from greenq.codecs import Codecs
from greenq.message import Delivery, Depth, Verdict
from greenq.protocol import TaskCall, read
from tests.fuzz.pipeline import application, end_of
from tests.fuzz.queues import QUEUES, Queue
from tests.fuzz.samples import ACCEPT
from tests.processes import stop
from tests.rabbit import shared_rabbit
from tests.servers import shared_redis

__all__ = ["put_and_check", "put_into"]

PATIENCE = 240.0
REPEATING = ("celery.map", "celery.starmap")
ROOT = Path(__file__).parents[2]


class Work:
    """A worker command that runs the spoiled application."""

    def __init__(self, broker: str, results: str, folder: Path, pool: str) -> None:
        self._ledger = folder / "ledger"
        self._log = folder / "worker.log"
        environment = {
            **os.environ,
            "GREENQ_BROKER_URL": broker,
            "GREENQ_RESULTS_URL": results,
            "GREENQ_CONFIG": os.devnull,
            "FUZZ_LEDGER": str(self._ledger),
        }
        command = [
            sys.executable,
            "-m",
            "greenq",
            "worker",
            "-A",
            "tests.fuzz.worked",
            "-P",
            pool,
            "-c",
            "50",
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def runs(self) -> tuple[Counter[str], set[int]]:
        """How often each task ran, by its id, and the processes where any did."""
        lines = self._ledger.read_text().splitlines() if self._ledger.exists() else []
        rows = [json.loads(line) for line in lines]
        return Counter(id for id, _ in rows), {pid for _, pid in rows}

    def output(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")

    def stop(self) -> int:
        """End it; its exit code."""
        return stop(self.process, 60)


def put_and_check(
    queue: Queue, results: str, count: int, seed: int, folder: Path, pool: str = "gevent"
) -> str:
    """Put so many spoiled messages into a queue under a worker, and find each at its end.

    Returns:
        What became of them.
    """
    app = application(queue.url, results)
    app.broker.declare(["celery"])
    rng = Random(f"{seed} queues")
    work = Work(queue.url, results, folder, pool)
    put: list[tuple[bytes, Delivery]] = []
    try:
        while len(put) < count:
            for _ in range(min(500, count)):
                queue.make(rng)
            put += queue.put()
            app.send_task("vec.add", (len(put),))
        last = app.send_task("vec.echo", ("last",))
        _drained(app, work)
        assert last.get(timeout=PATIENCE) == [["last"], {}]
        return _compare(queue, app, work, put)
    finally:
        code = work.stop()
        app.close()
        queue.close()
        assert code == 0, work.output()[-2000:]


def put_into(broker: str, count: int, seed: int, folder: Path, pool: str = "gevent") -> str:
    """The same with a server of the tests' own; see `put_and_check`."""
    if broker == "sqlite":
        url = results = f"sqlite:///{folder}/greenq.db"
    else:
        results = shared_redis().empty()
        url = results if broker == "redis" else shared_rabbit().empty()
    return put_and_check(QUEUES[broker](url), results, count, seed, folder, pool)


def _drained(app: GreenQ, work: Work) -> None:
    deadline = time.monotonic() + PATIENCE
    quiet = 0
    while quiet < 5:
        depth = app.broker.depth().get("celery", Depth())
        quiet = 0 if depth.ready or depth.leased else quiet + 1
        assert work.process.poll() is None, work.output()[-3000:]
        assert time.monotonic() < deadline, f"the worker does not get on: {depth}\n{work.output()[-3000:]}"
        time.sleep(0.1)


def _compare(queue: Queue, app: GreenQ, work: Work, put: list[tuple[bytes, Delivery]]) -> str:
    """What must have become of each, and what did."""
    dead: Counter[bytes] = Counter()
    run: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    delayed = 0
    stored: dict[str, set[str]] = {}
    followers: set[str] = set()
    bodies: set[bytes] = set()
    for name, delivery in put:
        if queue.parks(delivery):
            delayed += 1
            continue
        outcome = end_of(delivery)
        assert outcome.settlement is not None
        followers.update(message.headers["id"] for message in outcome.publishes)
        bodies.update(message.body for message in outcome.publishes)
        if outcome.publishes or outcome.parts:
            followers.update(_ids_in(_call(delivery).embed))
        verdict = outcome.settlement.verdict
        ends[f"{verdict.value} {outcome.state}"] += 1
        dead[name] += verdict is Verdict.DEAD
        delayed += verdict is Verdict.RETRY_AT
        if outcome.result is not None:
            stored.setdefault(outcome.result.id, set()).add(outcome.result.state)
        if verdict is Verdict.ACK and outcome.state != "REVOKED":
            headers = _call(delivery).headers
            if headers["task"] in REPEATING:
                # It calls another task for each of its items, until one fails.
                followers.add(headers["id"])
            else:
                run[headers["id"]] += 1
    dead = +dead
    # Errbacks and further links of workflows name tasks that nobody here has, or some that are there too.
    names = {name for name, _ in put}
    found = Counter(
        {
            name: n
            for name, n in queue.dead().items()
            if name in names or not (name.endswith(tuple(bodies)) or _names(name, followers))
        }
    )
    unsure = found & queue.unsure
    found -= unsure
    ends["unsure"] = unsure.total()
    assert found == dead, f"not dead: {_some(dead - found)}; dead: {_some(found - dead)}"
    ran, processes = work.runs()
    missing = run - ran
    assert not missing, f"they did not run: {_some(missing)}"
    extra = {id: n for id, n in (ran - run).items() if (n > 1 or id in stored) and id not in followers}
    assert not extra, f"they ran too often: {_some(extra)}"
    assert len(processes) == 1, f"the worker was replaced: {processes}"
    depth = app.broker.depth()["celery"]
    more = queue.unsure.total() - unsure.total()
    assert delayed <= depth.delayed <= delayed + more, f"{depth}, and {delayed} were to be delayed"
    store: Any = app.results
    known = store.get(stored, 60.0)
    wrong = [id for id, states in stored.items() if id not in known or known[id].state not in states]
    assert not wrong, f"they have no result, or another one: {wrong[:5]}"
    said = work.output()
    for word in ("bug in greenq", "could not be made out", "cannot be committed", "restarting"):
        assert word not in said, said[max(0, said.find(word) - 500) :][:2500]
    return f"{len(put)} put: " + ", ".join(f"{n} {end}" for end, n in ends.most_common())


def _names(letter: bytes, ids: set[str]) -> bool:
    """Whether a dead letter is one of these tasks."""
    return any(id.encode("utf-8", "backslashreplace") in letter for id in ids)


def _call(delivery: Delivery) -> TaskCall:
    assert delivery.message is not None
    return read(delivery.message, Codecs(accept=ACCEPT))


def _ids_in(signatures: Any) -> set[str]:
    """The ids of tasks that follow, however deep they lie."""
    found: set[str] = set()
    if isinstance(signatures, dict):
        found.update(id for id in [signatures.get("task_id")] if isinstance(id, str))
    inner = signatures.values() if isinstance(signatures, dict) else signatures
    if isinstance(inner, str | bytes) or not isinstance(inner, Iterable):
        return found
    return found.union(*map(_ids_in, inner))


def _some(found: Any) -> str:
    return f"{len(found)}, such as {list(found)[:2]!r:.2000}"
