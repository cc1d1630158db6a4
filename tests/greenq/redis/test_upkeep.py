"""Names that others wrote into greenq's keys are no reason to stop looking after the rest."""

from __future__ import annotations

from greenq.brokers.redis import RedisBroker
from greenq.testing.messages import PATIENCE, make, take
from tests.servers import shared_redis
from tests.waiting import until


def test_a_name_that_is_no_text_keeps_nobody_from_reaping() -> None:
    url = shared_redis().empty()
    with RedisBroker(url) as dead, RedisBroker(url) as living:
        dead.lease("dead", 0.2)
        living.lease("living", 60.0)
        living.publish([make()], PATIENCE)
        assert len(take(dead, 1)) == 1
        for name, lease in ((b"\xff\xfe", b"100"), (b"odd", b"soon"), (b"", b"1"), (b"odder", b"-5")):
            shared_redis().do("HSET", living.keys.processes, name, lease, url=url)
        until(lambda: living.reap() == 1)
        assert len(take(living, 1)) == 1


def test_a_queue_whose_name_is_no_text_hides_no_other() -> None:
    url = shared_redis().empty()
    with RedisBroker(url) as broker:
        broker.publish([make()], PATIENCE)
        shared_redis().do("SADD", broker.keys.queues, b"\xff\xfe", url=url)
        assert broker.depth()["q"].ready == 1
