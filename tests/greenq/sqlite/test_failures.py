"""What goes wrong with the file is told in words that say what to do."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenq.brokers import Broker, connect
from greenq.errors import (
    BrokerError,
    BrokerUnreachable,
    ConfigError,
    PublishError,
    PublishTimeout,
    ResultStoreError,
)
from greenq.message import Depth, Settlement, Verdict
from greenq.results import connect as connect_results
from greenq.sqlite.schema import VERSION
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from greenq.testing.payloads import decode, encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "greenq.db"


@pytest.fixture
def broker(path: Path) -> Iterator[Broker]:
    with connect(f"sqlite:///{path}") as broker:
        yield broker


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with (
        connect(f"sqlite:///{tmp_path}/no/such/greenq.db") as broker,
        pytest.raises(BrokerUnreachable) as caught,
    ):
        broker.publish([make()], PATIENCE)
    assert "does not exist: create it" in str(caught.value)


def test_it_is_opened_as_soon_as_its_directory_is_there(tmp_path: Path) -> None:
    with connect(f"sqlite:///{tmp_path}/later/greenq.db") as broker:
        with pytest.raises(BrokerUnreachable):
            broker.depth()
        (tmp_path / "later").mkdir()
        assert broker.depth() == {}


def test_a_directory_in_the_files_place_is_named(tmp_path: Path) -> None:
    with connect(f"sqlite:///{tmp_path}") as broker, pytest.raises(BrokerUnreachable, match="is a directory"):
        broker.depth()


def test_a_store_reports_it_as_its_own_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/no/greenq.db"
    with (
        connect_results(url, encode, decode) as store,
        pytest.raises(ResultStoreError, match="does not exist"),
    ):
        store.get(["x"], PATIENCE)


def test_a_file_that_is_no_database_is_left_as_it_is(path: Path, broker: Broker) -> None:
    path.write_bytes(b"dear diary, " * 1000)
    with pytest.raises(ConfigError, match="not a SQLite database: choose another path"):
        broker.publish([make()], PATIENCE)
    assert path.read_bytes() == b"dear diary, " * 1000


def test_another_programs_database_is_left_as_it_is(path: Path, broker: Broker) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE customers (name TEXT)")
    other.commit()
    with pytest.raises(ConfigError, match="another program's database"):
        broker.depth()
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
    assert other.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
    other.close()


def test_a_newer_greenqs_file_is_left_as_it_is(path: Path, broker: Broker) -> None:
    with connect(f"sqlite:///{path}") as first:
        first.declare(["q"])
        newer = sqlite3.connect(path)
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
        newer.close()
    os.rename(path, path.with_suffix(".moved"))  # so that the next call opens it anew
    os.rename(path.with_suffix(".moved"), path)
    broker.close()
    with connect(f"sqlite:///{path}") as again, pytest.raises(ConfigError, match="newer greenq"):
        again.depth()


READ_ONLY = """
import os, sys
from greenq.brokers import connect
from greenq.errors import BrokerUnreachable
broker = connect(sys.argv[1])
os.setgid(65534), os.setuid(65534)
try:
    broker.depth()
except BrokerUnreachable as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("directory_mode", "file_mode", "advice"),
    [
        (0o555, 0o666, "may not write in"),
        (0o777, 0o444, "may not read and write it"),
        (0o777, 0o000, "may not read"),
    ],
)
def test_missing_permissions_are_named(directory_mode: int, file_mode: int, advice: str) -> None:
    directory = Path(os.path.realpath(f"/tmp/greenq-test-{os.getpid()}-{directory_mode}-{file_mode}"))
    directory.mkdir()
    try:
        path = directory / "greenq.db"
        with connect(f"sqlite:///{path}") as broker:
            broker.declare(["q"])
        path.chmod(file_mode)
        directory.chmod(directory_mode)
        run = READ_ONLY if os.getuid() == 0 else READ_ONLY.replace("os.setgid(65534), os.setuid(65534)", "")
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", run, f"sqlite:///{path}"],
            capture_output=True,
            text=True,
            timeout=60,
            env=env,
        )
        assert advice in done.stdout, done.stderr
    finally:
        directory.chmod(0o777)
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()


def test_a_full_disk_loses_nothing_and_says_so(path: Path) -> None:
    with connect(f"sqlite:///{path}") as broker:
        broker.lease("p", 60.0)
        assert broker.publish(many(10), PATIENCE) == [None] * 10
        limit = broker.database.write  # type: ignore[attr-defined]
        limit(lambda session: session.rows("PRAGMA max_page_count = 40"), PATIENCE)
        errors = broker.publish([make("big", body=b"x" * 1_000_000)], PATIENCE)
        assert isinstance(errors[0], PublishError)
        assert not isinstance(errors[0], PublishTimeout)
        assert "disk is full" in str(errors[0])
        limit(lambda session: session.rows("PRAGMA max_page_count = 100000"), PATIENCE)
        assert ids(take(broker, 10)) == [str(number) for number in range(10)]


def test_in_a_group_only_the_guilty_call_fails(path: Path) -> None:
    with connect(f"sqlite:///{path}") as broker:
        broker.declare(["q"])
        database = broker.database  # type: ignore[attr-defined]
        database.write(lambda session: session.rows("PRAGMA max_page_count = 60"), PATIENCE)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")  # so that the calls gather
        answers: dict[str, list[object]] = {}

        def publish(id: str, size: int) -> None:
            answers[id] = list(broker.publish([make(id, body=b"x" * size)], PATIENCE))

        threads = [
            threading.Thread(target=publish, args=(id, size))
            for id, size in (("first", 1), ("a", 1), ("big", 1_000_000), ("b", 1))
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        blocker.execute("ROLLBACK")
        blocker.close()
        for thread in threads:
            thread.join(PATIENCE)
        assert isinstance(answers.pop("big")[0], PublishError)
        assert answers == {"first": [None], "a": [None], "b": [None]}


def test_a_lock_that_is_kept_too_long_is_an_error_and_nothing_was_sent(path: Path) -> None:
    with connect(f"sqlite:///{path}", timeout=0.5) as broker:
        broker.lease("p", 60.0)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        [error] = broker.publish([make()], 0.5)
        assert isinstance(error, PublishError)
        assert "nothing was changed" in str(error)
        with pytest.raises(BrokerError, match="nothing was changed"):
            broker.renew()
        assert time.monotonic() - started < PATIENCE
        assert broker.depth() == {}, "reading needs no lock"
        blocker.execute("ROLLBACK")
        blocker.close()
        assert broker.fetch(["q"], 1, 0.2) == []
        assert broker.publish([make()], PATIENCE) == [None]


def test_who_could_not_renew_as_the_file_was_locked_is_not_taken_for_dead(path: Path) -> None:
    with connect(f"sqlite:///{path}") as reaper, connect(f"sqlite:///{path}") as other:
        reaper.lease("reaper", 60.0)
        other.lease("other", 1.5)
        other.publish([make()], PATIENCE)
        [held] = take(other, 1)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        reaped: list[int] = []
        reaping = threading.Thread(target=lambda: reaped.append(reaper.reap()))
        time.sleep(1.6)
        reaping.start()
        time.sleep(2.5)
        blocker.execute("ROLLBACK")
        blocker.close()
        reaping.join(PATIENCE)
        assert reaped == [0]
        other.renew()
        assert settle(other, [held], Verdict.ACK) == [True]
        other.publish([make("held by the dead")], PATIENCE)
        take(other, 1)
        until(lambda: reaper.reap() == 1, "the return of what a silent process held")


def test_a_file_deleted_in_use_is_made_anew(path: Path, broker: Broker) -> None:
    broker.lease("p", 60.0)
    broker.publish([make("gone with the file")], PATIENCE)
    for file in path.parent.iterdir():
        file.unlink()
    assert broker.publish([make("new")], PATIENCE) == [None]
    assert ids(take(broker, 1)) == ["new"]
    with connect(f"sqlite:///{path}") as other:
        assert other.depth()["q"].leased == 1


def test_what_ended_while_the_file_was_away_is_given_back_when_it_is_put_back(
    path: Path, broker: Broker
) -> None:
    broker.lease("p", 60.0)
    broker.publish(many(3), PATIENCE)
    ended, running, _ = take(broker, 3)
    away = path.parent / "away"
    away.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        file.rename(away / file.name)
    assert settle(broker, [ended], Verdict.ACK) == [False]
    broker.renew()
    for file in [*path.parent.glob(f"{path.name}*")]:
        file.unlink()
    for file in away.iterdir():
        file.rename(path.parent / file.name)
    broker.renew()
    assert broker.depth()["q"] == Depth(ready=1, leased=2)
    assert ids(take(broker, 1)) == ["0"]
    assert settle(broker, [running], Verdict.ACK) == [True]


def test_a_waiting_fetch_notices_that_the_file_was_deleted(path: Path, broker: Broker) -> None:
    broker.lease("p", 60.0)
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(ids(broker.fetch(["q"], 1, PATIENCE))))
    waiting.start()
    time.sleep(0.3)
    for file in path.parent.iterdir():
        file.unlink()
    script = "import sys; from greenq.brokers import connect; from greenq.testing.messages import make\n"
    script += "connect(sys.argv[1]).publish([make('new')], 10)"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, f"sqlite:///{path}"], check=True, env=env, timeout=60)
    waiting.join(PATIENCE)
    assert found == ["new"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET envelope = x'c1'",
        "UPDATE messages SET envelope = x'9300'",
        "UPDATE messages SET envelope = 'text'",
        "UPDATE messages SET envelope = 42, body = 'text'",
        "UPDATE messages SET envelope = NULL",
        "UPDATE messages SET body = NULL",
        "UPDATE messages SET envelope = zeroblob(70000)",
        "DELETE FROM messages",
    ],
)
def test_a_row_that_cannot_be_read_becomes_a_dead_letter_and_can_be_replayed(
    path: Path, broker: Broker, change: str
) -> None:
    broker.lease("p", 60.0)
    broker.publish([make("bad")], PATIENCE)
    hand = sqlite3.connect(path)
    hand.execute(change)
    hand.commit()
    hand.close()
    broker.publish([make("good", body=b"y" * 80_000)], PATIENCE)
    [bad, good] = take(broker, 2)
    assert ids([good]) == ["good"]
    assert (bad.message, bad.queue) == (None, "q")
    assert bad.problem
    assert broker.settle([Settlement(bad, Verdict.DEAD, reason=bad.problem)], PATIENCE) == [True]
    [letter] = broker.dead()
    assert letter.message is None
    assert letter.raw == bad.raw
    assert broker.replay(letter.key)
    [again] = take(broker, 1)
    assert (again.message, again.raw) == (None, bad.raw)


def test_a_stopped_process_stops_nobodys_hub(path: Path, broker: Broker) -> None:
    broker.declare(["q"])
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    holder.stdout.readline()
    holder.send_signal(signal.SIGSTOP)
    green = """
import sys, time, gevent
from greenq.brokers import connect
from greenq.testing.messages import make
broker, ticks = connect(sys.argv[1]), []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
gevent.spawn(tick)
print(broker.publish([make()], 1.0)[0], flush=True)
print(max(b - a for a, b in zip(ticks, ticks[1:])) < 0.5, len(ticks) > 20, flush=True)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", green, f"sqlite:///{path}"],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
    )
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    lines = done.stdout.splitlines()
    assert "nothing was changed" in lines[0], done.stderr
    assert lines[1] == "True True"
    until(lambda: broker.publish([make()], PATIENCE) == [None], "the next message")


def test_in_a_new_file_every_process_has_a_lease_of_its_own(path: Path, broker: Broker) -> None:
    with connect(f"sqlite:///{path}") as other:
        broker.lease("first", 60)
        other.lease("second", 60)
        for file in path.parent.glob("greenq.db*"):
            file.unlink()
        other.renew()
        broker.renew()
        broker.publish([make()], PATIENCE)
        assert len(broker.fetch(["q"], 1, PATIENCE)) == 1
        assert other.release("second") == 0, "what the first holds is not the second's"
        assert broker.depth()["q"].leased == 1
