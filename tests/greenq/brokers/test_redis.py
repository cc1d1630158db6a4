"""What the Redis broker does beyond the contract: kombu's keys, hostile lists, waiting, several queues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from greenq.brokers.redis import RedisBroker
from greenq.errors import BrokerError
from greenq.message import Depth, Settlement, Verdict
from greenq.redis.envelope import pack
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from tests.servers import RedisServer, shared_redis

PRIORITY_3 = "q\x06\x163"


@pytest.fixture
def url() -> str:
    return shared_redis().empty()


@pytest.fixture
def broker(url: str) -> Iterator[RedisBroker]:
    with RedisBroker(url) as opened:
        opened.lease("process", 30.0)
        yield opened


def do(url: str, *command: Any) -> Any:
    return shared_redis().do(*command, url=url)


# ── the keys that Celery knows ───────────────────────────────────────────────────────────────────────────


def test_messages_stand_on_the_lists_that_kombu_reads(broker: RedisBroker, url: str) -> None:
    broker.publish([make(str(p), priority=p) for p in range(10)], PATIENCE)
    sizes = {name: do(url, "LLEN", name) for name in ("q", PRIORITY_3, "q\x06\x166", "q\x06\x169")}
    assert list(sizes.values()) == [3, 3, 3, 1]


def test_queues_are_bound_as_kombu_binds_them(broker: RedisBroker, url: str) -> None:
    broker.publish([make()], PATIENCE)
    for table in ("_kombu.binding.q", "_kombu.binding_permanent.q"):
        assert do(url, "SMEMBERS", table) == [b"q\x06\x16\x06\x16q"]


def test_a_prefix_stands_before_every_key(url: str) -> None:
    with RedisBroker(f"{url}?global_keyprefix=shop-") as broker:
        broker.lease("process", 30.0)
        broker.publish([make("a"), make("b", due=time.time() + 99), make("c")], PATIENCE)
        one, other = take(broker, 2)
        settle(broker, [one], Verdict.DEAD, reason="r")
        keys = do(url, "KEYS", "*")
        assert keys
        assert all(key.startswith(b"shop-") for key in keys), keys
        settle(broker, [other], Verdict.ACK)


def test_two_prefixes_are_two_places(url: str) -> None:
    with RedisBroker(f"{url}?global_keyprefix=a.") as one, RedisBroker(f"{url}?global_keyprefix=b.") as two:
        one.publish([make()], PATIENCE)
        assert one.depth() == {"q": Depth(ready=1)}
        assert two.depth() == {}


def test_other_priority_steps_are_other_lists(url: str) -> None:
    with RedisBroker(f"{url}?priority_steps=0,5") as broker:
        broker.lease("process", 30.0)
        broker.publish([make(str(p), priority=p) for p in (9, 5, 4, 0)], PATIENCE)
        assert ids(take(broker, 4)) == ["4", "0", "9", "5"]


# ── messages that nobody should have sent ────────────────────────────────────────────────────────────────

HOSTILE = [
    b"", b"\xff\xfe\x00", b"null", b"[]", b"{}", b'"x"', b"[" * 50_000, b'{"body": 1}',
    json.dumps({"body": "%%%", "headers": {}, "properties": {"body_encoding": "base64"},
                "content-type": "application/json", "content-encoding": "utf-8"}).encode(),
    json.dumps({"body": "", "headers": 5, "properties": {}, "content-type": "a", "content-encoding": "b"})
    .encode(),
]  # fmt: skip


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_what_cannot_be_read_is_kept_as_it_came(broker: RedisBroker, url: str, raw: bytes) -> None:
    do(url, "LPUSH", "q", raw)
    broker.publish([make("good")], PATIENCE)
    bad, good = take(broker, 2)
    assert ids([good]) == ["good"]
    assert bad.message is None
    assert bad.problem
    assert bad.raw == raw
    assert settle(broker, [bad], Verdict.DEAD, reason=bad.problem) == [True]
    [letter] = broker.dead("q")
    assert (letter.raw, letter.reason, letter.message) == (raw, bad.problem, None)
    assert broker.replay(letter.key)
    assert do(url, "LRANGE", "q", 0, -1) == [raw]


def test_identical_messages_are_all_delivered(broker: RedisBroker, url: str) -> None:
    broker.declare(["q"])
    raw = pack(make("twin"))
    do(url, "LPUSH", "q", raw, raw, raw)
    twins = take(broker, 3)
    assert settle(broker, twins, Verdict.RETRY_AT, due=time.time() + 0.2) == [True] * 3
    assert broker.depth()["q"] == Depth(delayed=3)
    assert ids(take(broker, 3)) == ["twin"] * 3


def test_a_queue_whose_name_is_taken_says_so_and_the_others_go_on(broker: RedisBroker, url: str) -> None:
    do(url, "SET", "taken", "by somebody else")
    broker.publish([make("fine")], PATIENCE)
    assert ids(broker.fetch(["taken", "q"], 5, 1.0)) == ["fine"]
    with pytest.raises(BrokerError, match="another kind of value"):
        broker.fetch(["taken", "q"], 5, 0.2)
    [problem] = broker.publish([make(queue="taken")], PATIENCE)
    assert "the list 'taken': a key holds another kind of value" in str(problem)
    broker.purge("taken")
    assert do(url, "GET", "taken") == b"by somebody else"


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_fetch_asks_nothing_of_the_server() -> None:
    server = RedisServer()
    with RedisBroker(server.url) as broker:
        broker.lease("process", 30.0)
        waiting = threading.Thread(target=broker.fetch, args=(["a", "b", "c"], 1, 3.0))
        waiting.start()
        time.sleep(0.5)
        before = server.calls()
        time.sleep(1.5)
        assert server.calls() == before
        broker.wake()
        waiting.join(PATIENCE)
    server.stop()


def test_every_list_of_every_queue_wakes(broker: RedisBroker, url: str) -> None:
    with RedisBroker(url) as sender:
        for queue in ("one", "two"):
            for priority in (0, 3, 6, 9):
                found: list[Any] = []
                waiting = threading.Thread(
                    target=lambda f=found: f.extend(broker.fetch(["one", "two"], 9, 20))
                )
                waiting.start()
                time.sleep(0.05)
                sender.publish([make("x", queue, priority=priority)], PATIENCE)
                waiting.join(10)
                assert ids(found) == ["x"]


def test_a_waiting_fetch_takes_nothing_until_it_is_there(broker: RedisBroker, url: str) -> None:
    """Two wait, one gets it; the other goes on waiting and gets the next."""
    other = RedisBroker(url)
    other.lease("other", 30.0)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda b=b: found.extend(ids(b.fetch(["q"], 5, 20)))) for b in (broker, other)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    broker.publish([make("first")], PATIENCE)
    until(lambda: found == ["first"], "the first")
    broker.publish([make("second")], PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert found == ["first", "second"]
    other.close()


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_eta_on_the_list_is_put_aside_until_its_time(broker: RedisBroker, url: str) -> None:
    due = datetime.now(UTC) + timedelta(seconds=0.7)
    headers = {"id": "later", "task": "t", "eta": due.isoformat()}
    do(url, "LPUSH", "q", pack(make(headers=headers)))
    broker.publish([make("now")], PATIENCE)
    assert ids(broker.fetch(["q"], 5, 5.0)) == ["now"]
    assert broker.depth()["q"] == Depth(leased=1, delayed=1)
    found = broker.fetch(["q"], 5, PATIENCE)
    assert ids(found) == ["later"]
    assert time.time() >= due.timestamp()


def test_a_call_with_an_eta_stands_on_the_list_where_celery_sees_it(broker: RedisBroker, url: str) -> None:
    due = time.time() + 60
    eta = datetime.fromtimestamp(due, UTC).isoformat()
    broker.publish([make(headers={"id": "1", "task": "t", "eta": eta}, due=due)], PATIENCE)
    assert do(url, "LLEN", "q") == 1


def test_a_worker_whose_clock_is_behind_does_not_spin(broker: RedisBroker, monkeypatch: Any) -> None:
    """It puts the message off by the time left on its own clock, not to a time that has passed elsewhere."""
    now = time.time
    due = datetime.fromtimestamp(now() - 5 + 0.5, UTC)
    monkeypatch.setattr(time, "time", lambda: now() - 5)
    broker.publish([make(headers={"id": "1", "task": "t", "eta": due.isoformat()})], PATIENCE)
    server = shared_redis()
    before = server.calls()
    assert ids(broker.fetch(["q"], 1, PATIENCE)) == ["1"]
    assert server.calls() - before < 100


# ── several queues ───────────────────────────────────────────────────────────────────────────────────────


def test_round_robin_serves_all_queues_alike(url: str) -> None:
    with RedisBroker(f"{url}?queue_order=round_robin") as broker:
        broker.lease("process", 30.0)
        broker.publish([*many(300, "a"), *many(300, "b"), *many(300, "c")], PATIENCE)
        counts = Counter(one.queue for _ in range(30) for one in take(broker, 10, ["a", "b", "c"]))
        assert max(counts.values()) - min(counts.values()) <= 30
        assert len(take(broker, 600, ["a", "b", "c"])) == 600


def test_weights_divide_what_is_fetched(url: str) -> None:
    with RedisBroker(f"{url}?queue_weights=a:9,b:1") as broker:
        broker.lease("process", 30.0)
        broker.publish([*many(1000, "a"), *many(1000, "b")], PATIENCE)
        counts = Counter(one.queue for _ in range(20) for one in broker.fetch(["a", "b"], 10, 1.0))
        assert counts["a"] > 3 * counts["b"] > 0


# ── many callers ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_hundred_threads_publish_over_one_connection() -> None:
    server = RedisServer()
    with RedisBroker(server.url) as broker:
        problems: list[Any] = []

        def publish(number: int) -> None:
            for i in range(20):
                problems.extend(broker.publish([make(f"{number}-{i}")], PATIENCE))

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
        assert problems == [None] * 2000
        assert server.connections() == 1
        broker.lease("process", 30.0)
        assert len(set(ids(take(broker, 2000)))) == 2000
    server.stop()


def test_a_forked_child_has_connections_of_its_own(broker: RedisBroker, url: str) -> None:
    broker.publish([make("parent")], PATIENCE)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert broker.publish([make(str(number)) for number in range(50)], PATIENCE) == [None] * 50
            status = 0
        finally:
            os._exit(status)
    for number in range(50):
        assert broker.publish([make(f"p{number}")], PATIENCE) == [None]
    assert os.waitpid(child, 0)[1] == 0
    assert broker.depth()["q"].ready == 101


def test_settlements_of_another_process_are_not_accepted_after_its_release(
    broker: RedisBroker, url: str
) -> None:
    broker.publish(many(10), PATIENCE)
    held = take(broker, 10)
    with RedisBroker(url) as supervisor:
        assert supervisor.release("process") == 10
        assert settle(supervisor, held, Verdict.ACK) == [False] * 10
        supervisor.lease("next", 30.0)
        again = take(supervisor, 10)
    assert ids(again) == [str(n) for n in range(10)]
    assert {one.attempts for one in again} == {1}


def test_deaths_are_counted_up_and_forgotten_at_the_end(broker: RedisBroker, url: str) -> None:
    broker.publish([make("poison")], PATIENCE)
    with RedisBroker(url) as other:
        for attempts in range(3):
            other.lease(f"victim-{attempts}", 30.0)
            [delivery] = take(other, 1)
            assert delivery.attempts == attempts
            assert other.charge([delivery], PATIENCE) == [True]
            assert broker.release(f"victim-{attempts}") == 1
    [delivery] = take(broker, 1)
    assert delivery.attempts == 3
    assert broker.settle([Settlement(delivery, Verdict.ACK)], PATIENCE) == [True]
    assert do(url, "EXISTS", "greenq.attempts") == 0


def test_a_worker_killed_while_it_drains_loses_nothing(url: str) -> None:
    count, rounds = 3000, 8
    with RedisBroker(url) as broker:
        broker.lease("last", 30.0)
        broker.publish(many(count), PATIENCE)
        script = (
            "import sys, time\n"
            "from greenq.brokers.redis import RedisBroker\n"
            "from greenq.message import Settlement, Verdict\n"
            "broker = RedisBroker(sys.argv[1]); broker.lease(sys.argv[2], 30.0)\n"
            "print('go', flush=True)\n"
            "while True:\n"
            "    taken = broker.fetch(['q'], 7, 1.0)\n"
            "    for one in taken: print(one.message.headers['id'], flush=True)\n"
            "    broker.settle([Settlement(one, Verdict.ACK) for one in taken], 5.0)\n"
        )
        seen: Counter[str] = Counter()
        for number in range(rounds):
            process = subprocess.Popen(
                [sys.executable, "-c", script, url, f"killed-{number}"], stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 + 0.01 * number)
            process.send_signal(signal.SIGKILL)
            seen.update(line.strip() for line in process.stdout if line.endswith("\n"))
            process.stdout.close()
            process.wait()
            assert 0 <= broker.release(f"killed-{number}") <= 7
        while broker.depth()["q"].ready:
            taken = take(broker, min(500, broker.depth()["q"].ready))
            seen.update(ids(taken))
            assert all(settle(broker, taken, Verdict.ACK))
        assert set(seen) == {str(n) for n in range(count)}
        assert sum(seen.values()) - count <= 7 * rounds


def test_large_messages_come_in_several_fetches(broker: RedisBroker) -> None:
    """A thousand of them in one answer would need the server's memory twice over."""
    body = b"x" * 3_000_000
    broker.publish([make(str(n), body=body) for n in range(40)], PATIENCE)
    first = broker.fetch(["q"], 1000, 1.0)
    assert 0 < len(first) < 40
    assert ids([*first, *take(broker, 40 - len(first))]) == [str(n) for n in range(40)]


# ── what waits for its time ──────────────────────────────────────────────────────────────────────────────


def test_what_waits_for_its_time_is_shown_and_stays(broker: RedisBroker, url: str) -> None:
    begun = time.time()
    broker.publish([make(str(i), due=begun + 9000 - i) for i in range(50)], PATIENCE)
    broker.publish([make("other", queue="more", due=begun + 8000), make("now")], PATIENCE)
    shown = broker.upcoming(["q", "more"], 45)
    assert [one.message.headers["id"] for one in shown if one.message] == [
        "other", *(str(i) for i in range(49, 5, -1))
    ]  # fmt: skip
    assert shown[1].message is not None
    assert shown[1].message.due == pytest.approx(begun + 9000 - 49, abs=60)
    assert broker.depth()["q"] == Depth(ready=1, delayed=50, by_priority={0: 1})


def test_what_is_no_message_among_those_that_wait_is_not_shown(broker: RedisBroker, url: str) -> None:
    broker.publish([make("good", due=time.time() + 9000)], PATIENCE)
    do(url, "ZADD", broker.keys.delayed("q"), 1, b"00001q" + b"0" * 14 + b"no envelope")
    assert [one.message.headers["id"] for one in broker.upcoming(["q"]) if one.message] == ["good"]
