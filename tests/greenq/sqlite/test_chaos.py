"""Killing processes at random moments loses nothing and does nothing twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from greenq.brokers import connect
from greenq.message import Verdict
from greenq.results import connect as connect_results
from greenq.testing.messages import PATIENCE, ids, settle, until
from greenq.testing.payloads import decode, encode

SECONDS = float(os.environ.get("GREENQ_CHAOS_SECONDS", "5"))


def test_random_kills_lose_nothing_and_settle_nothing_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/greenq.db?synchronous=normal"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ledgers: list[Path] = []

    def start() -> subprocess.Popen[bytes]:
        ledgers.append(tmp_path / f"ledger-{len(ledgers)}")
        command = [
            sys.executable,
            "-m",
            "tests.greenq.sqlite.chaos",
            url,
            f"w{len(ledgers)}",
            str(ledgers[-1]),
        ]
        return subprocess.Popen(command, env=env)

    processes = [start() for _ in range(4)]
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(random.uniform(0.1, 0.5))
            victim = random.randrange(4)
            assert processes[victim].poll() is None, "a process ended by itself"
            if random.random() < 0.2:
                processes[victim].send_signal(signal.SIGSTOP)
                time.sleep(random.uniform(0.0, 1.5))
                processes[victim].send_signal(signal.SIGCONT)
            else:
                processes[victim].kill()
                processes[victim].wait()
                processes[victim] = start()
    finally:
        for process in processes:
            process.kill()
            process.wait()
    sent = [line for ledger in ledgers if ledger.exists() for line in ledger.read_text().splitlines()]
    assert sent
    with connect(url) as broker, connect_results(url, encode, decode) as store:
        broker.lease("the end", 600.0)
        until(lambda: broker.reap() == 0 and broker.depth()["q"].leased == 0, "the return of what they held")
        found: dict[str, list[str]] = {"q": [], "children": []}
        for queue, names in found.items():
            while deliveries := broker.fetch([queue], 1000, 0.5):
                names += ids(deliveries)
                assert all(settle(broker, deliveries, Verdict.ACK))
        done, left = found["children"], found["q"]
        assert len(done) == len(set(done)), "an outcome was committed twice"
        assert len(left) == len(set(left)), "a message is there twice"
        assert not set(done) & set(left), "a message was done and is there still"
        assert set(sent) <= set(done) | set(left), "a confirmed message was lost"
        assert set(store.get(done, PATIENCE)) == set(done), "a result was lost"
    check = sqlite3.connect(tmp_path / "greenq.db")
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert check.execute("SELECT count(*) FROM messages").fetchall() == [(0,)]
    check.close()
