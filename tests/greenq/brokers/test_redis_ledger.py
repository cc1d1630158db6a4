"""Whatever is done in whatever order: each message is in exactly one place until it is acknowledged."""

from __future__ import annotations

import time
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenq.brokers.redis import RedisBroker
from greenq.message import Delivery, Settlement, Verdict
from greenq.redis.resp import ReplyError
from greenq.testing.messages import PATIENCE, ids, make
from tests.servers import shared_redis

QUEUES = ("a", "b")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(QUEUES), st.integers(0, 9)),
        st.tuples(st.just("delay"), st.sampled_from(QUEUES), st.integers(0, 9)),
        st.tuples(st.just("fetch"), st.integers(0, 1), st.integers(1, 4)),
        st.tuples(st.just("settle"), st.integers(0, 1), st.lists(st.sampled_from(list(Verdict)), max_size=5)),
        st.tuples(st.just("settle again"), st.integers(0, 1), st.integers(1, 3)),
        st.tuples(st.just("release"), st.integers(0, 1), st.none()),
        st.tuples(st.just("forget scripts"), st.none(), st.none()),
        st.tuples(st.just("replay"), st.none(), st.none()),
    ),
    max_size=40,
)


class Ledger:
    """Two processes at one place, and what each message should have come to."""

    def __init__(self) -> None:
        self.url = shared_redis().empty()
        self.brokers = [RedisBroker(self.url), RedisBroker(self.url)]
        self.names = ["one-0", "two-0"]
        for broker, name in zip(self.brokers, self.names, strict=True):
            broker.lease(name, 60.0)
        self.held: list[list[Delivery]] = [[], []]
        self.settled: list[list[Delivery]] = [[], []]
        self.sent = 0
        self.open: set[str] = set()

    def publish(self, queue: str, priority: int, due: float | None = None) -> None:
        id = str(self.sent)
        self.sent += 1
        self.open.add(id)
        assert self.brokers[0].publish([make(id, queue, priority=priority, due=due)], PATIENCE) == [None]

    def fetch(self, who: int, count: int) -> None:
        taken = self.brokers[who].fetch(QUEUES, count, 0.0)
        assert len(taken) <= count
        self.held[who] += taken

    def settle(self, who: int, verdicts: list[Verdict]) -> None:
        some, self.held[who] = self.held[who][: len(verdicts)], self.held[who][len(verdicts) :]
        batch = [
            Settlement(one, verdict, due=time.time(), reason="r")
            for one, verdict in zip(some, verdicts, strict=False)
        ]
        assert self.brokers[who].settle(batch, PATIENCE) == [True] * len(batch)
        self.settled[who] += some
        self.open -= {id for s in batch if s.verdict is Verdict.ACK for id in ids([s.delivery])}

    def settle_again(self, who: int, count: int) -> None:
        old = [Settlement(one, Verdict.REQUEUE) for one in self.settled[who][-count:]]
        assert self.brokers[1 - who].settle(old, PATIENCE) == [False] * len(old)

    def release(self, who: int) -> None:
        assert self.brokers[1 - who].release(self.names[who]) == len(self.held[who])
        lost, self.held[who] = self.held[who], []
        late = [Settlement(one, Verdict.ACK) for one in lost]
        assert self.brokers[who].settle(late, PATIENCE) == [False] * len(late)
        self.settled[who] += lost
        self.names[who] += "'"
        self.brokers[who].lease(self.names[who], 60.0)

    def check(self) -> None:
        depths = self.brokers[0].depth().values()
        assert sum(d.ready + d.delayed + d.leased + d.dead for d in depths) == len(self.open)
        assert sum(d.leased for d in depths) == len(self.held[0]) + len(self.held[1])

    def replay(self) -> None:
        for letter in self.brokers[1].dead(limit=2):
            assert self.brokers[1].replay(letter.key)

    def close(self) -> None:
        """Work off everything: all that is open comes, once."""
        for who in (0, 1):
            self.release(who)
        while self.brokers[0].dead():
            self.replay()
        found: list[str] = []
        while taken := self.brokers[0].fetch(QUEUES, 50, 0.05):
            found += ids(taken)
        assert Counter(found) == Counter(self.open)
        for broker in self.brokers:
            broker.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps)
def test_each_message_is_in_one_place(plan: list[tuple[str, object, object]]) -> None:
    ledger = Ledger()
    for name, one, other in plan:
        if name == "forget scripts":
            assert not isinstance(shared_redis().do("SCRIPT", "FLUSH"), ReplyError)
        elif name == "delay":
            ledger.publish(one, other, time.time() + 0.02)  # type: ignore[arg-type]
        elif name == "replay":
            ledger.replay()
        elif name == "release":
            ledger.release(one)  # type: ignore[arg-type]
        else:
            getattr(ledger, name.replace(" ", "_"))(one, other)
        ledger.check()
    time.sleep(0.02)
    ledger.close()
