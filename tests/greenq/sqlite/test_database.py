"""The thread that owns the connection: grouping, waking, forks, interrupted callers."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.brokers import Broker, connect
from greenq.brokers.sqlite import SqliteBroker
from greenq.errors import BrokerError
from greenq.message import Depth
from greenq.results import connect as connect_results
from greenq.results.sqlite import SqliteStore
from greenq.sqlite import engine
from greenq.sqlite.watch import Inotify, Polling, watch
from greenq.testing.messages import PATIENCE, ids, make, many, take, until
from greenq.testing.payloads import decode, encode


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/greenq.db"


@pytest.fixture
def broker(url: str) -> Iterator[Broker]:
    with connect(url) as broker:
        broker.lease("p", 60.0)
        yield broker


def run(script: str, *arguments: str) -> str:
    """Run a script in another process and return what it printed."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_broker_and_store_of_one_file_share_one_handle(url: str) -> None:
    broker, store = connect(url), connect_results(url + "?synchronous=full", encode, decode)
    assert isinstance(broker, SqliteBroker)
    assert isinstance(store, SqliteStore)
    assert broker.database is store.database
    broker.close()
    assert store.get(["x"], PATIENCE) == {}
    store.close()
    again = connect(url)
    assert isinstance(again, SqliteBroker)
    assert again.database is not store.database
    again.close()


def test_the_safer_of_two_addresses_holds_for_both(url: str) -> None:
    def synchronous(broker: Broker) -> int:
        assert isinstance(broker, SqliteBroker)
        return int(broker.database.read(lambda s: s.rows("PRAGMA synchronous")[0][0], PATIENCE))

    with connect(url + "?synchronous=normal") as loose:
        assert synchronous(loose) == 1
        with connect(url) as safe:
            assert synchronous(safe) == synchronous(loose) == 2


def test_calls_that_come_at_once_share_a_transaction(url: str, broker: Broker, tmp_path: Path) -> None:
    assert isinstance(broker, SqliteBroker)
    blocker = sqlite3.connect(tmp_path / "greenq.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    threads = [
        threading.Thread(target=broker.publish, args=([make(str(number))], PATIENCE)) for number in range(50)
    ]
    for thread in threads:
        thread.start()
    commits: list[str] = []
    time.sleep(0.3)
    session = broker.database._engine._session  # type: ignore[union-attr]
    assert session is not None
    session.connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    blocker.execute("ROLLBACK")
    blocker.close()
    for thread in threads:
        thread.join(PATIENCE)
    session.connection.set_trace_callback(None)
    assert broker.depth()["q"] == Depth(ready=50)
    assert 1 <= len(commits) <= 10


def test_an_idle_fetch_costs_no_cpu(url: str) -> None:
    script = """
import sys, time
from greenq.brokers import connect
broker = connect(sys.argv[1]); broker.lease("idle", 60.0); broker.fetch(["q"], 1, 0.1)
before = time.process_time(); broker.fetch(["q"], 1, 3.0); print(time.process_time() - before)
"""
    assert float(run(script, url)) < 0.06


def test_without_inotify_other_processes_are_noticed_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "watch", lambda path: Polling())
    with connect(url) as broker:
        broker.lease("polling", 60.0)
        found: list[str] = []
        waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["q"], 1, PATIENCE))))
        waiting.start()
        time.sleep(0.3)
        run("import sys; from greenq.brokers import connect; from greenq.testing.messages import make\n"
            "connect(sys.argv[1]).publish([make('seen')], 10)", url)  # fmt: skip
        waiting.join(PATIENCE)
        assert found == ["seen"]


def test_when_inotify_is_used_up_polling_takes_over(url: str, tmp_path: Path, broker: Broker) -> None:
    kinds = set()
    watches = []
    try:
        for _ in range(2000):
            watches.append(watch(str(tmp_path / "greenq.db")))
            kinds.add(type(watches[-1]))
            if Polling in kinds:
                break
    finally:
        for one in watches:
            one.close()
    assert kinds == {Inotify, Polling}


def test_a_death_between_commit_and_touch_is_made_up_for(
    url: str, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "announce", lambda path: None)
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["q"], 1, PATIENCE))))
    waiting.start()
    time.sleep(0.3)
    script = """
import sys
from greenq.sqlite import engine
engine.announce = lambda path: None
from greenq.brokers import connect
from greenq.testing.messages import make
connect(sys.argv[1]).publish([make('silent')], 10)
"""
    run(script, url)
    waiting.join(PATIENCE)
    assert found == ["silent"]


def test_what_an_interrupted_fetch_was_given_goes_back(url: str) -> None:
    script = """
import sys, sqlite3, gevent
from greenq.brokers import connect
from greenq.testing.messages import make, ids, take
broker = connect(sys.argv[1]); broker.lease("p", 60.0)
broker.publish([make("precious")], 10)
for round in range(50):
    fetching = gevent.spawn(broker.fetch, ["q"], 1, 5.0)
    gevent.sleep(round * 0.00005)
    fetching.kill()
    if isinstance(fetching.value, list):
        from greenq.testing.messages import settle
        from greenq.message import Verdict
        settle(broker, fetching.value, Verdict.REQUEUE)
[delivery] = take(broker, 1)
print(ids([delivery]), delivery.attempts, broker.depth())
"""
    assert "['precious'] 0" in run(script, url)


def test_closing_ends_a_waiting_fetch(url: str) -> None:
    broker = connect(url)
    broker.lease("p", 60.0)
    found: list[object] = []

    def fetch() -> None:
        try:
            found.append(broker.fetch(["q"], 1, PATIENCE))
        except BrokerError as error:
            found.append(error)

    waiting = threading.Thread(target=fetch)
    waiting.start()
    time.sleep(0.2)
    broker.close()
    waiting.join(PATIENCE / 2)
    assert found == [[]]


def test_nothing_is_left_open_after_close(url: str, tmp_path: Path) -> None:
    def held() -> list[str]:
        names = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        return sorted(name for name in names if "greenq.db" in name or "inotify" in name)

    before, threads = held(), len(os.listdir("/proc/self/task"))
    for _ in range(20):
        with connect(url) as broker:
            broker.lease("p", 60.0)
            broker.fetch(["q"], 1, 0.01)
    assert held() == before
    until(lambda: len(os.listdir("/proc/self/task")) <= threads, "the end of the threads")


# ── forks ────────────────────────────────────────────────────────────────────────────────────────────────


FORK = """
import os, sys, threading, time
from greenq.brokers import connect
from greenq.errors import BrokerError
from greenq.message import Verdict
from greenq.testing.messages import ids, make, many, settle, take
broker = connect(sys.argv[1]); broker.lease("parent", 60.0)
broker.publish([make("before")], 10)
held = take(broker, 1)
found = []
waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["for-parent"], 1, 20.0))))
waiting.start()
children = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        try:
            broker.fetch(["q"], 1, 0.0)
            os._exit(1)                                   # the parent's lease is not the child's
        except BrokerError:
            pass
        broker.lease(f"child-{number}", 60.0)
        assert broker.publish(many(100, f"from-{number}"), 10) == [None] * 100
        assert len(take(broker, 100, [f"from-{number}"])) == 100
        if number == 3:
            broker.publish([make("from child", "for-parent")], 10)
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
waiting.join(20)
assert found == ["from child"], found
assert settle(broker, held, Verdict.ACK) == [True]
print(sorted((name, depth.leased) for name, depth in broker.depth().items()))
broker.close()
"""


def test_a_forked_child_and_its_parent_both_go_on(url: str, tmp_path: Path) -> None:
    printed = run(FORK, url)
    assert "('from-0', 100), ('from-1', 100), ('from-2', 100), ('from-3', 100)" in printed
    check = sqlite3.connect(tmp_path / "greenq.db")
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


def test_forks_amid_traffic_harm_nothing(url: str, tmp_path: Path) -> None:
    script = """
import os, sys, threading
from greenq.brokers import connect
from greenq.testing.messages import make
broker = connect(sys.argv[1])
sent, stop = [0], []
def publish():
    while not stop:
        assert broker.publish([make(str(sent[0]))], 20) == [None]
        sent[0] += 1
thread = threading.Thread(target=publish); thread.start()
for number in range(15):
    pid = os.fork()
    if pid == 0:
        assert broker.publish([make("child", "children")], 20) == [None]
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.append(1); thread.join()
depth = broker.depth()
print(depth["q"].ready == sent[0], depth["children"].ready)
"""
    assert run(script, url) == "True 15\n"
    check = sqlite3.connect(tmp_path / "greenq.db")
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


# ── leases and clocks ────────────────────────────────────────────────────────────────────────────────────


def test_a_step_of_the_wall_clock_ends_no_lease(
    url: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.publish([make()], PATIENCE)
    take(broker, 1)
    real = time.time
    with connect(url) as other:
        monkeypatch.setattr(time, "time", lambda: real() + 10_000)
        assert other.reap() == 0
        monkeypatch.setattr(time, "time", lambda: real() - 10_000)
        assert other.reap() == 0


def test_what_a_process_held_before_a_reboot_comes_back(url: str, broker: Broker, tmp_path: Path) -> None:
    broker.publish([make()], PATIENCE)
    take(broker, 1)
    with connect(url) as other:
        assert other.reap() == 0
        hand = sqlite3.connect(tmp_path / "greenq.db")
        hand.execute("UPDATE processes SET clock = 'an earlier boot'")
        hand.commit()
        hand.close()
        assert other.reap() == 1


def test_a_million_delayed_messages_cost_a_fetch_nothing(url: str, broker: Broker, tmp_path: Path) -> None:
    assert isinstance(broker, SqliteBroker)
    broker.publish(many(2), PATIENCE)
    plan = broker.database.read(
        lambda s: s.rows(
            "EXPLAIN QUERY PLAN SELECT id FROM ready WHERE queue = 1 ORDER BY rank, position, id"
        ),
        PATIENCE,
    )
    assert "SEARCH ready USING PRIMARY KEY" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
    hand = sqlite3.connect(tmp_path / "greenq.db")
    hand.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 301000)"
        " INSERT INTO delayed SELECT 1e12 + i, i, 1, 0, 0 FROM n"
    )
    hand.commit()
    hand.close()
    started = time.process_time()
    for _ in range(100):
        broker.fetch(["q"], 1, 0.0)
    assert time.process_time() - started < 1.0


def test_the_log_stays_short_however_much_is_written(url: str, broker: Broker, tmp_path: Path) -> None:
    lengths = []
    for _ in range(60):
        assert broker.publish(many(4, body=b"x" * 1_000_000), PATIENCE) == [None] * 4
        assert broker.purge("q") == 4
        lengths.append((tmp_path / "greenq.db-wal").stat().st_size)
    assert max(lengths) < 80_000_000


def test_reading_goes_on_while_another_process_keeps_the_lock(url: str, tmp_path: Path) -> None:
    with connect(url, timeout=2.0) as broker:
        broker.declare(["q"])
        blocker = sqlite3.connect(tmp_path / "greenq.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        publishing = threading.Thread(target=broker.publish, args=([make()], 2.0))
        publishing.start()
        time.sleep(0.1)
        started = time.monotonic()
        assert broker.depth() == {"q": Depth()}
        assert time.monotonic() - started < 1.0
        blocker.execute("ROLLBACK")
        blocker.close()
        publishing.join(PATIENCE)
        assert broker.depth() == {"q": Depth(ready=1)}


def test_a_lock_held_for_long_is_left_alone_for_a_moment(broker: Broker) -> None:
    assert isinstance(broker, SqliteBroker)
    database = broker.database
    database.write(lambda session: None, PATIENCE)
    owner = database._started()
    pauses: list[float] = []
    owner._sleep = pauses.append
    database.write(lambda session: None, PATIENCE)
    before = len(pauses)
    database.write(lambda session: time.sleep(2 * engine.LONG_HOLD), PATIENCE)
    database.write(lambda session: None, PATIENCE)
    assert engine.LAST_WAIT in pauses[before:]
