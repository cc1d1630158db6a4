"""The server of limits is away, forgets everything, or is not the broker's: work goes on as it may."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ
from greenq.errors import BrokerError
from tests.greenq.throttling.places import working
from tests.rabbit import shared_rabbit
from tests.servers import Proxy, shared_redis
from tests.waiting import PATIENCE, until


def make(place: str, broker: str, **worker: Any) -> GreenQ:
    """An application whose limits are elsewhere."""
    return GreenQ(
        "shop", broker=broker, results="memory://faults", throttling={"url": place, "timeout": "1s"},
        worker={"lease": "1s", **worker},
    )  # fmt: skip


def test_while_limits_cannot_be_looked_up_only_those_that_have_some_wait() -> None:
    redis = shared_redis()
    proxy = Proxy(redis.port)
    place = redis.empty().replace(f":{redis.port}", f":{proxy.port}")
    app = make(place, "memory://away")

    @app.task(concurrency_limit=1)
    def limited() -> str:
        return "limited"

    @app.task
    def free() -> str:
        return "free"

    @app.task(unique=True)
    def only() -> None: ...

    with working(app):
        assert limited.delay().get(timeout=PATIENCE) == "limited"
        proxy.mute = True
        waiting = limited.delay()
        assert free.delay().get(timeout=PATIENCE) == "free"
        with pytest.raises(BrokerError):
            only.delay()
        assert not waiting.ready()
        proxy.mute = False
        proxy.cut()
        assert waiting.get(timeout=PATIENCE) == "limited"
    proxy.close()


def test_a_server_that_forgot_everything_learns_again_what_runs() -> None:
    place = shared_redis().empty()
    app, gate, inside = make(place, "memory://amnesia"), threading.Event(), threading.Event()
    ran: list[int] = []

    @app.task(concurrency_limit=1)
    def long(number: int) -> None:
        ran.append(number)
        inside.set()
        gate.wait(PATIENCE)

    def remembered() -> bool:
        return any(b":slots" in key for key in shared_redis().do("KEYS", "*", url=place))

    with working(app):
        first = long.delay(1)
        assert inside.wait(PATIENCE)
        shared_redis().do("FLUSHDB", url=place)
        until(remembered, "the slot is taken again")
        second = long.delay(2)
        until(lambda: app.broker.depth()["celery"].delayed == 1, "the second is put off")
        assert ran == [1]
        gate.set()
        app.wait([first, second], timeout=PATIENCE)


def test_limits_and_pauses_hold_on_rabbitmq_with_a_place_of_their_own(tmp_path: Path) -> None:
    app = make(f"sqlite:///{tmp_path}/limits.db", shared_rabbit().empty(), queues=["celery", "mail"])
    lock, inside, most = threading.Lock(), 0, 0

    @app.task(concurrency_limit=1)
    def work(number: int) -> int:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return number

    with working(app) as worker:
        results = [work.delay(number) for number in range(5)]
        assert app.wait(results, timeout=PATIENCE) == list(range(5))
        assert most == 1
        app.queues.pause("mail")
        until(lambda: list(worker._consumer.queues) == ["celery"], "the pause is noticed")
        waiting = work.apply_async((7,), queue="mail")
        assert work.delay(8).get(timeout=PATIENCE) == 8
        assert not waiting.ready()
        app.queues.resume("mail")
        assert waiting.get(timeout=PATIENCE) == 7
