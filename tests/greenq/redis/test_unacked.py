"""What Celery's dead workers held comes back, whatever else lies between it."""

from __future__ import annotations

import json
import time

from greenq.brokers.redis import RedisBroker
from greenq.redis.unacked import SOME
from tests.servers import shared_redis


def hold(url: str, tag: str, entry: bytes | str, age: float) -> None:
    """Let a message look as if a Celery worker had taken it `age` seconds ago."""
    do = shared_redis().do
    do("HSET", "unacked", tag, entry, url=url)
    do("ZADD", "unacked_index", time.time() - age, tag, url=url)


def entry(exchange: str = "", routing_key: str = "q") -> str:
    payload = {
        "body": "", "headers": {"id": "1", "task": "t"}, "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {"delivery_info": {"exchange": exchange, "routing_key": routing_key}, "priority": 0},
    }  # fmt: skip
    return json.dumps([payload, exchange, routing_key])


def test_messages_behind_a_hundred_that_nobody_can_read_come_back() -> None:
    url = shared_redis().empty()
    for i in range(SOME + 10):
        hold(url, f"foreign-{i}", b"\xff not kombu's", age=9000 - i)
    hold(url, "ours", entry(), age=4000)
    with RedisBroker(f"{url}?visibility_timeout=3600") as broker:
        assert broker.reap() == 1
        assert shared_redis().do("LLEN", "q", url=url) == 1
        assert shared_redis().do("HLEN", "unacked", url=url) == SOME + 10, "they are somebody's: they stay"
        hold(url, "another", entry(), age=5000)
        assert sum(broker.reap() for _ in range(2)) == 1


def test_what_a_worker_with_a_large_prefetch_held_comes_back_at_one_look() -> None:
    url = shared_redis().empty()
    for i in range(2 * SOME + 5):
        hold(url, str(i), entry(), age=4000)
    with RedisBroker(f"{url}?visibility_timeout=3600") as broker:
        assert broker.reap() == 2 * SOME + 5
        assert shared_redis().do("EXISTS", "unacked_mutex", url=url) == 0


def test_a_row_of_the_table_that_cannot_be_read_keeps_no_message_back() -> None:
    url = shared_redis().empty()
    for row in (b"\xff", b"too short", b"x\x06\x16[\x06\x16q2", b"key\x06\x16\x06\x16q"):
        shared_redis().do("SADD", "_kombu.binding.shop", row, url=url)
    hold(url, "1", entry("shop", "key"), age=4000)
    with RedisBroker(f"{url}?visibility_timeout=3600") as broker:
        assert broker.reap() == 1
    assert shared_redis().do("LLEN", "q", url=url) == 1
