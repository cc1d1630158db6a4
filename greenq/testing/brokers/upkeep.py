"""Looking after queues: depths, purging, dead letters, and the end."""

from __future__ import annotations

import time
from collections.abc import Callable

from greenq.errors import BrokerError
from greenq.message import Depth, Verdict
from greenq.testing.brokers.base import BrokerSuite
from greenq.testing.messages import PATIENCE, ids, make, many, refuses, settle, take

__all__ = ["Upkeep"]


class Upkeep(BrokerSuite):
    """What people do with queues."""

    def kill(self, *names: str, queue: str = "q") -> None:
        """Dead-letter messages of these names, one after the other."""
        for name in names:
            self.broker.publish([make(name, queue)], PATIENCE)
            settle(
                self.broker, take(self.broker, 1, [queue]), Verdict.DEAD, reason=f"{name} died", trace="tb"
            )

    def test_a_declared_queue_is_listed_while_it_is_empty(self) -> None:
        self.broker.declare(["one", "two", "one"])
        self.broker.declare(["two"])
        assert self.broker.depth() == {"one": Depth(), "two": Depth()}

    def test_the_depth_tells_what_messages_wait_for(self) -> None:
        self.broker.publish(many(5), PATIENCE)
        self.broker.publish(many(2, due=time.time() + 3600), PATIENCE)
        [held, given_up] = take(self.broker, 2)
        settle(self.broker, [given_up], Verdict.DEAD, reason="r")
        assert self.broker.depth() == {"q": Depth(ready=3, delayed=2, leased=1, dead=1)}
        settle(self.broker, [held], Verdict.ACK)

    def test_the_depth_tells_how_urgent_the_ready_messages_are(self) -> None:
        self.broker.publish([make("a", priority=3), make("b", priority=9), make("c", priority=9)], PATIENCE)
        found = self.broker.depth()["q"].by_priority
        assert sum(found.values()) in (0, 3)  # 0 where the broker does not know
        if found and self.broker.guarantees.priorities == 10:
            assert found == {3: 1, 9: 2}

    def test_a_purge_drops_what_waits_and_nothing_else(self) -> None:
        self.kill("dead")
        self.broker.publish([*many(5), make("other", "other")], PATIENCE)
        held = take(self.broker, 1)
        self.broker.publish(many(2, due=time.time() + 3600), PATIENCE)
        assert self.broker.purge("q") == 6
        assert self.broker.depth() == {"other": Depth(ready=1), "q": Depth(leased=1, dead=1)}
        assert self.broker.purge("q") == 0
        assert self.broker.purge("never seen") == 0
        assert settle(self.broker, held, Verdict.ACK) == [True]

    def test_dead_letters_tell_what_died_and_why_the_newest_first(self) -> None:
        before = time.time()
        self.kill("a", "b")
        self.kill("c", queue="other")
        letters = self.broker.dead()
        assert [letter.reason for letter in letters] == ["c died", "b died", "a died"]
        assert [letter.reason for letter in self.broker.dead("q")] == ["b died", "a died"]
        assert [letter.reason for letter in self.broker.dead(limit=1)] == ["c died"]
        assert self.broker.dead("never seen") == []
        letter = letters[-1]
        assert (letter.queue, letter.trace, letter.raw) == ("q", "tb", b"")
        assert letter.message == make("a")
        assert before - 1 <= letter.died <= time.time() + 1
        assert len({letter.key for letter in letters}) == 3

    def test_a_reason_may_hold_any_text(self) -> None:
        self.broker.publish([make()], PATIENCE)
        assert settle(
            self.broker, take(self.broker, 1), Verdict.DEAD, reason="\ud800 \0 ü", trace="\udfff"
        ) == [True]
        assert "ü" in self.broker.dead()[0].reason

    def test_a_replayed_letter_begins_anew(self) -> None:
        self.broker.publish([make("again", priority=4)], PATIENCE)
        self.broker.release(self.process)
        settle(self.broker, take(self.broker, 1), Verdict.DEAD, reason="r")
        [letter] = self.broker.dead()
        assert self.broker.replay(letter.key) is True
        assert self.broker.replay(letter.key) is False
        assert self.broker.replay("no such key") is False
        assert self.broker.dead() == []
        [delivery] = take(self.broker, 1)
        assert delivery.message == make("again", priority=4)
        assert delivery.attempts == 0

    def test_buried_letters_are_gone(self) -> None:
        self.kill("a", "b")
        self.kill("c", "d", queue="other")
        assert self.broker.bury("other") == 2
        assert self.broker.bury("never seen") == 0
        assert [letter.reason for letter in self.broker.dead()] == ["b died", "a died"]
        assert self.broker.bury() == 2
        assert self.broker.dead() == []
        assert self.broker.depth()["q"] == Depth()

    def test_closing_twice_is_harmless(self) -> None:
        self.broker.close()
        self.broker.close()

    def test_a_broker_closes_at_the_end_of_a_with_block(self) -> None:
        with self.open() as broker:
            broker.declare(["q"])
        self.refused(broker.depth)

    def test_a_closed_broker_says_so(self) -> None:
        self.broker.close()
        self.refused(lambda: self.broker.publish([make()], 1.0))
        self.refused(lambda: self.broker.fetch(["q"], 1, 0.0))
        self.refused(self.broker.renew)
        self.refused(self.broker.reap)

    def refused(self, call: Callable[[], object]) -> None:
        """Expect an error that says that the broker is closed."""
        refuses(BrokerError, call, "closed")

    def test_other_brokers_of_the_place_stay_open(self) -> None:
        other = self.open(60.0)
        self.broker.close()
        other.publish([make()], PATIENCE)
        assert ids(take(other, 1)) == ["1"]
