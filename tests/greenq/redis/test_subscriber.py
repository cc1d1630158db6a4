"""Who reads results: the one who waits alone, else a thread; whoever leaves, nobody else loses a result."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from greenq.errors import ResultStoreError
from greenq.redis.link import Link
from greenq.results.redis import RedisStore
from greenq.testing.messages import PATIENCE, until
from greenq.testing.payloads import decode, encode, encoded
from pools import native
from tests.servers import shared_redis


@pytest.fixture
def url() -> str:
    return shared_redis().empty()


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with RedisStore(url, encode, decode) as opened:
        yield opened


@pytest.fixture
def worker(url: str) -> Iterator[RedisStore]:
    with RedisStore(url, encode, decode) as opened:
        yield opened


class Waiting:
    """A thread that waits for one result."""

    def __init__(self, store: RedisStore, id: str, timeout: float = PATIENCE) -> None:
        self.found: object = None
        self._thread = threading.Thread(target=self._wait, args=(store, id, timeout))
        self._thread.start()

    def _wait(self, store: RedisStore, id: str, timeout: float) -> None:
        try:
            self.found = {name: result.value for name, result in store.wait([id], timeout).items()}
        except BaseException as error:
            self.found = error

    def end(self) -> object:
        """Wait for its end; what it found."""
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()
        return self.found


def reading(store: RedisStore) -> bool:
    return store._subscriber is not None and store._subscriber._reader is not None


def waiting(store: RedisStore) -> int:
    return len(store._subscriber._others) if store._subscriber is not None else 0


def subscribed(id: str) -> None:
    until(lambda: shared_redis().do("PUBSUB", "NUMSUB", f"celery-task-meta-{id}")[1], f"waiting for {id}")


def readers() -> list[native.NativeThread]:
    return [thread for thread in native._living.values() if thread.name == "greenq-results"]


def test_who_waits_alone_needs_no_other_thread(store: RedisStore, worker: RedisStore) -> None:
    before = len(readers())
    for name in ("a", "b", "c"):
        alone = Waiting(store, name)
        subscribed(name)
        assert len(readers()) <= before  # one of an earlier test may end meanwhile
        worker.put([encoded(worker, name, value=name)], PATIENCE)
        assert alone.end() == {name: name}
    assert not reading(store)


def test_who_reads_leaves_and_the_others_get_theirs(store: RedisStore, worker: RedisStore) -> None:
    first = Waiting(store, "first")
    until(lambda: reading(store), "the reader")
    others = [Waiting(store, str(number)) for number in range(5)]
    until(lambda: waiting(store) == 5, "the others")
    worker.put([encoded(worker, "first", value="first")], PATIENCE)
    assert first.end() == {"first": "first"}
    worker.put([encoded(worker, str(number), value=number) for number in range(5)], PATIENCE)
    assert [other.end() for other in others] == [{str(number): number} for number in range(5)]


def test_who_reads_gives_up_and_the_others_wait_on(store: RedisStore, worker: RedisStore) -> None:
    first = Waiting(store, "first", timeout=0.5)
    until(lambda: reading(store), "the reader")
    other = Waiting(store, "other")
    assert first.end() == {}
    worker.put([encoded(worker, "other", value=1)], PATIENCE)
    assert other.end() == {"other": 1}


def test_an_interrupted_reader_takes_nobodys_answer_with_it(
    store: RedisStore, worker: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has received and not yet told is lost: the next answer must not be taken for that."""
    receive, lost = Link.next, threading.Event()

    def losing(link: Link, deadline: float) -> object:
        reply = receive(link, deadline)
        if threading.current_thread().name == "doomed" and reply and waiting(store):
            lost.set()
            raise KeyboardInterrupt
        return reply

    monkeypatch.setattr(Link, "next", losing)
    doomed = Waiting(store, "doomed")
    doomed._thread.name = "doomed"
    subscribed("doomed")
    others = [Waiting(store, str(number)) for number in range(5)]
    worker.put([encoded(worker, str(number), value=number) for number in range(5)], PATIENCE)
    assert [other.end() for other in others] == [{str(number): number} for number in range(5)]
    worker.put([encoded(worker, "doomed", value="doomed")], PATIENCE)
    if lost.is_set():
        assert isinstance(doomed.end(), KeyboardInterrupt)
    else:
        assert doomed.end() == {"doomed": "doomed"}
    assert {r.value for r in store.wait(["0"], PATIENCE).values()} == {0}


def test_closing_ends_who_reads_and_who_waits(store: RedisStore) -> None:
    ended = [Waiting(store, "first")]
    until(lambda: reading(store), "the reader")
    ended.append(Waiting(store, "other"))
    until(lambda: waiting(store) == 1, "the other")
    store.close()
    assert [type(one.end()) for one in ended] == [ResultStoreError, ResultStoreError]


def test_who_reads_connects_again(store: RedisStore, worker: RedisStore) -> None:
    alone = Waiting(store, "a")
    subscribed("a")
    shared_redis().do("CLIENT", "KILL", "TYPE", "pubsub")
    worker.put([encoded(worker, "a", value=1)], PATIENCE)
    assert alone.end() == {"a": 1}


def test_a_connection_that_ended_while_nobody_waited_is_made_again(
    store: RedisStore, worker: RedisStore
) -> None:
    worker.put([encoded(worker, "a", value=1)], PATIENCE)
    assert set(store.wait(["a"], PATIENCE)) == {"a"}
    shared_redis().do("CLIENT", "KILL", "TYPE", "pubsub")
    worker.put([encoded(worker, "b", value=2)], PATIENCE)
    assert set(store.wait(["b"], PATIENCE)) == {"b"}


def test_many_threads_wait_in_turns_and_each_gets_its_own(store: RedisStore, worker: RedisStore) -> None:
    wrong: list[object] = []

    def ask(number: int) -> None:
        dice = random.Random(number)
        for turn in range(10):
            id = f"{number}-{turn}"
            while True:
                try:
                    found = store.wait([id], dice.choice([0.001, 0.01, PATIENCE]))
                except ResultStoreError as error:
                    wrong.append(error)
                    return
                if found:
                    break
            if {name: result.value for name, result in found.items()} != {id: id}:
                wrong.append((id, found))
            time.sleep(dice.choice([0, 0.001]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        for number in range(8):
            id = f"{number}-{turn}"
            worker.put([encoded(worker, id, value=id)], PATIENCE)
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


GREEN = """
import sys
from pools.patching import patch
patch(sys.argv[1])
import threading
from greenq.results.redis import RedisStore
from greenq.testing.payloads import decode, encode, encoded

store, worker = RedisStore(sys.argv[2], encode, decode), RedisStore(sys.argv[2], encode, decode)
found = {}

def wait(name):
    for id, result in store.wait([name], 60).items():
        found[id] = result.value

names = [str(number) for number in range(30)]
threads = [threading.Thread(target=wait, args=(name,)) for name in names]
for thread in threads:
    thread.start()
while len(store._waiters.all()) < 30:  # they let this one go on
    threading.Event().wait(0.01)
worker.put([encoded(worker, name, value=name) for name in names], 60)
for thread in threads:
    thread.join(60)
assert found == {name: name for name in names}, found
store.close()
worker.close()
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_green_threads_that_wait_let_the_others_go_on(url: str, library: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", GREEN, library, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
