"""Green threads, and several processes at one place."""

from __future__ import annotations

import time

from greenq.message import Depth, Verdict
from greenq.testing.brokers.base import BrokerSuite
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until

__all__ = ["Hubs", "Processes"]


class Hubs(BrokerSuite):
    """A call waits as its caller's world waits."""

    def check_hub(self, *how: str) -> None:
        """Expect other green threads to run while one waits for a second in all."""
        with self.actor("hub_fetch", *how) as actor:
            ticks, found = actor.says()
        assert found == [[[], ["late"]]]
        assert ticks > 20

    def test_a_waiting_fetch_does_not_stop_a_gevent_hub(self) -> None:
        self.check_hub("gevent")

    def test_a_waiting_fetch_does_not_stop_a_gevent_hub_in_a_patched_process(self) -> None:
        self.check_hub("gevent", "patched")

    def test_a_waiting_fetch_does_not_stop_an_eventlet_hub(self) -> None:
        self.check_hub("eventlet")

    def test_a_waiting_fetch_does_not_stop_an_eventlet_hub_in_a_patched_process(self) -> None:
        self.check_hub("eventlet", "patched")


class Processes(BrokerSuite):
    """For brokers whose `guarantees.shared` is true."""

    def test_another_process_wakes_a_waiting_fetch(self) -> None:
        with self.actor("answer", "ping", "pong", "echo") as actor:
            actor.says()
            trips = []
            for number in range(20):
                started = time.monotonic()
                self.broker.publish([make(str(number), "ping")], PATIENCE)
                deliveries = self.broker.fetch(["pong"], 1, PATIENCE)
                trips.append(time.monotonic() - started)
                assert ids(deliveries) == [str(number)]
                settle(self.broker, deliveries, Verdict.ACK)
        assert sorted(trips)[10] < 0.5, trips

    def test_processes_never_get_the_same_message(self) -> None:
        actors = [self.actor("drain", "q", f"drainer-{number}") for number in range(3)]
        try:
            for actor in actors:
                actor.says()
            count = min(1500, self.crowd)
            self.broker.publish(many(count), PATIENCE)
            for actor in actors:
                actor.go()
            found = [id for actor in actors for id in actor.says()]
        finally:
            for actor in actors:
                actor.close()
        assert sorted(map(int, found)) == list(range(count))

    def test_processes_that_start_at_once_all_find_the_place(self) -> None:
        self.here = self.address()
        actors = [self.actor("publish", "q", "20") for _ in range(4)]
        try:
            assert [actor.says() for actor in actors] == ["published"] * 4
        finally:
            for actor in actors:
                actor.close()
        broker = self.open()
        if not broker.guarantees.lists_queues:
            broker.expect(["q"])
        assert broker.depth()["q"] == Depth(ready=80)

    def test_what_a_killed_process_held_comes_back(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(10), PATIENCE)
        with self.actor("hold", "q", 10, "victim", 1.0) as actor:
            assert len(actor.says()) == 10
            actor.kill()
        returned = 0

        def all_returned() -> bool:
            nonlocal returned
            returned += self.broker.reap()
            if not self.broker.guarantees.timed_leases:
                returned = self.broker.depth()["q"].ready
            return returned == 10

        until(all_returned, "the return of ten messages")
        deliveries = take(self.broker, 10)
        assert sorted(map(int, ids(deliveries))) == list(range(10))
        assert {delivery.attempts for delivery in deliveries} == {1}
