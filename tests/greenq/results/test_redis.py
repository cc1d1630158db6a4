"""What the Redis result store does beyond the contract: Celery's keys, pushes, connections, faults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from greenq.brokers.redis import RedisBroker
from greenq.errors import ResultStoreError
from greenq.message import FAILURE, STARTED, SUCCESS, Depth, Outcome, Settlement, Verdict
from greenq.results.redis import RedisStore
from greenq.testing.messages import PATIENCE, ids, make, many, take, until
from greenq.testing.payloads import decode, encode, encoded
from tests.servers import Proxy, free_port, shared_redis, start_redis


@pytest.fixture
def url() -> str:
    return shared_redis().empty()


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with RedisStore(url, encode, decode) as opened:
        yield opened


def do(url: str, *command: Any) -> Any:
    return shared_redis().do(*command, url=url)


def test_results_stand_where_celery_looks_for_them(store: RedisStore, url: str) -> None:
    result = encoded(store, "id-1", value=42, expires=86400)
    store.put([result, encoded(store, "id-2")], PATIENCE)
    assert do(url, "GET", "celery-task-meta-id-1") == result.payload
    assert 86390 <= do(url, "TTL", "celery-task-meta-id-1") <= 86400
    assert do(url, "TTL", "celery-task-meta-id-2") == -1


def test_a_prefix_is_that_of_celerys_backend(url: str) -> None:
    with RedisStore(f"{url}?global_keyprefix=shop_", encode, decode) as store:
        store.put([encoded(store, "x")], PATIENCE)
        assert do(url, "KEYS", "*") == [b"shop_celery-task-meta-x"]
        assert set(store.wait(["x"], PATIENCE)) == {"x"}


def test_an_error_in_the_reader_leaves_no_waiter_alone(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    well, errors = store._heard, [RuntimeError("a bug")]

    def hear(stored: dict[str, bytes]) -> None:
        if stored and errors:
            raise errors.pop()
        well(stored)

    monkeypatch.setattr(store, "_heard", hear)
    found: list[str] = []
    waiter = threading.Thread(target=lambda: found.extend(store.wait(["x"], PATIENCE)), daemon=True)
    waiter.start()
    until(lambda: shared_redis().do("PUBSUB", "NUMSUB", "celery-task-meta-x")[1], "the subscription")
    store.put([encoded(store, "x")], PATIENCE)
    waiter.join(PATIENCE)
    assert (found, errors) == (["x"], [])


def test_a_thousand_waiters_share_one_connection() -> None:
    server = start_redis()
    with RedisStore(server.url, encode, decode) as store, RedisStore(server.url, encode, decode) as other:
        found: list[str] = []
        names = [f"n{number}" for number in range(300)]
        threads = [
            threading.Thread(target=lambda n=n: found.extend(store.wait([n], PATIENCE))) for n in names
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(server.do("PUBSUB", "CHANNELS")) == len(names), "all subscriptions")
        assert server.connections() == 1
        before = server.calls()
        time.sleep(0.5)
        assert server.calls() - before <= 1
        other.put([encoded(other, n) for n in names], PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(found) == sorted(names)
    server.stop()


def test_subscriptions_do_not_pile_up() -> None:
    server = start_redis()
    with RedisStore(server.url, encode, decode) as store:
        for start in range(0, 6000, 100):
            names = [f"n{number}" for number in range(start, start + 100)]
            store.put([encoded(store, n) for n in names], PATIENCE)
            assert set(store.wait(names, PATIENCE)) == set(names)
        until(lambda: len(server.do("PUBSUB", "CHANNELS")) <= 1200, "the end of old subscriptions")
    server.stop()


def test_a_wait_goes_on_over_a_lost_connection(url: str) -> None:
    proxy = Proxy(shared_redis().port)
    through = f"redis://127.0.0.1:{proxy.port}/{url.rpartition('/')[2]}"
    with RedisStore(through, encode, decode) as store, RedisStore(url, encode, decode) as other:
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda n=n: found.extend(store.wait([n], PATIENCE)))
            for n in ("during", "after")
        ]
        for thread in threads:
            thread.start()
        until(lambda: _subscribed(url, "during", "after"), "the subscriptions")
        proxy.cut()
        other.put([encoded(other, "during")], PATIENCE)  # nobody listens at this moment
        until(lambda: "during" in found, "what was stored meanwhile")
        other.put([encoded(other, "after")], PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(found) == ["after", "during"]
    proxy.close()


def _subscribed(url: str, *ids: str) -> bool:
    """Whether somebody listens for each; the server's channels are those of all its databases."""
    channels = set(do(url, "PUBSUB", "CHANNELS", "celery-task-meta-*"))
    return {f"celery-task-meta-{id}".encode() for id in ids} <= channels


def test_nobody_answers() -> None:
    with RedisStore(f"redis://127.0.0.1:{free_port()}", encode, decode, 2.0) as store:
        for call in (
            lambda: store.get(["x"], 1.0),
            lambda: store.put([encoded(store, "x")], 1.0),
            lambda: store.wait(["x"], 1.0),
            lambda: store.forget(["x"]),
        ):
            with pytest.raises(ResultStoreError, match="nobody answers"):
                call()


def test_closing_ends_those_who_wait(store: RedisStore, url: str) -> None:
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(ResultStoreError, match="closed"):
            store.wait(["never"], PATIENCE * 4)
        ended.set()

    threading.Thread(target=wait).start()
    until(lambda: _subscribed(url, "never"), "the subscription")
    store.close()
    assert ended.wait(PATIENCE)


def test_what_is_no_record_is_overwritten(store: RedisStore, url: str) -> None:
    do(url, "SET", "celery-task-meta-odd", b"\xff not a record")
    do(url, "LPUSH", "celery-task-meta-list", b"not even text")
    store.put([encoded(store, "odd", value=1), encoded(store, "list", value=2)], PATIENCE)
    assert {n: r.value for n, r in store.get(["odd", "list"], PATIENCE).items()} == {"odd": 1, "list": 2}


def test_writers_at_once_leave_the_first_end(url: str) -> None:
    stores = [RedisStore(url, encode, decode) for _ in range(6)]
    for name in [f"n{number}" for number in range(40)]:
        stores[0].put([encoded(stores[0], name, STARTED)], PATIENCE)
        threads = [
            threading.Thread(
                target=s.put, args=([encoded(s, name, SUCCESS if i % 2 else FAILURE, i)], PATIENCE)
            )
            for i, s in enumerate(stores)
        ]
        for thread in threads:
            thread.start()
        first = stores[0].wait([name], PATIENCE)[name].value
        for thread in threads:
            thread.join(PATIENCE)
        assert stores[0].get([name], PATIENCE)[name].value == first
    for store in stores:
        store.close()


# ── together with the broker ─────────────────────────────────────────────────────────────────────────────


def test_a_commit_is_one_round_trip(url: str) -> None:
    server = start_redis()
    with RedisStore(server.url, encode, decode) as store, RedisBroker(server.url) as broker:
        broker.lease("process", 30.0)
        for _ in range(2):  # the first round loads the scripts
            broker.publish(many(200), PATIENCE)
            taken = take(broker, 200)
            before = _evaluated(server)
            outcomes = [
                Outcome(d, (make("c", "children"),), encoded(store, f"{d.token}"), Settlement(d, Verdict.ACK))
                for d in taken
            ]
            assert store.commit(broker, outcomes, PATIENCE) == [True] * 200
            after = _evaluated(server)
        assert after - before == 1
        assert server.connections() == 2  # one that publishes and settles, one that fetches
    server.stop()


def _evaluated(server: Any) -> int:
    stats = server.do("INFO", "commandstats").decode().splitlines()
    return sum(
        int(s.partition("calls=")[2].partition(",")[0]) for s in stats if s.startswith("cmdstat_evalsha:")
    )


def test_another_database_or_user_is_not_committed_with(store: RedisStore, url: str) -> None:
    with RedisBroker(shared_redis().empty()) as elsewhere:
        assert store.commit(elsewhere, [], PATIENCE) is None
    with RedisBroker(url.replace("redis://", "redis://:pw@")) as as_another:
        assert store.commit(as_another, [], PATIENCE) is None


def test_a_started_task_ends_in_one_commit(store: RedisStore, url: str) -> None:
    with RedisBroker(url) as broker:
        broker.lease("process", 30.0)
        broker.publish(many(50), PATIENCE)
        taken = take(broker, 50)
        store.put([encoded(store, n, STARTED) for n in ids(taken)], PATIENCE)
        store.put([encoded(store, "7", FAILURE, "earlier")], PATIENCE)
        outcomes = [
            Outcome(d, (), encoded(store, ids([d])[0], SUCCESS, "end"), Settlement(d, Verdict.ACK))
            for d in taken
        ]
        assert store.commit(broker, outcomes, PATIENCE) == [True] * 50
        found = store.get([str(n) for n in range(50)], PATIENCE)
        assert [found[str(n)].value for n in range(50)] == ["earlier" if n == 7 else "end" for n in range(50)]
        assert broker.depth()["q"] == Depth()


def test_a_child_whose_queue_cannot_be_one_keeps_its_parent(store: RedisStore, url: str) -> None:
    do(url, "SET", "taken", "by somebody else")
    with RedisBroker(url) as broker:
        broker.lease("process", 30.0)
        broker.publish([make("parent")], PATIENCE)
        [delivery] = take(broker, 1)
        outcome = Outcome(
            delivery, (make("child", "taken"),), encoded(store, "parent"), Settlement(delivery, Verdict.ACK)
        )
        assert store.commit(broker, [outcome], PATIENCE) == [True]
        [letter] = broker.dead("q")
        assert "could not be sent" in letter.reason
        assert do(url, "GET", "taken") == b"by somebody else"


def test_a_record_has_celerys_keys(store: RedisStore, url: str) -> None:
    store.put([encoded(store, "x", value=1)], PATIENCE)
    record = json.loads(do(url, "GET", "celery-task-meta-x"))
    assert set(record) >= {"status", "result", "traceback", "children", "date_done", "task_id"}
