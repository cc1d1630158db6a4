"""Suspects: what was in flight when its process died, and whom a death is charged to."""

from __future__ import annotations

import time

from greenq.brokers.base import Broker
from greenq.message import Delivery, Depth, Message, Settlement, Verdict
from greenq.testing.brokers.base import BrokerSuite
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until

__all__ = ["Suspecting"]


class Suspecting(BrokerSuite):
    """A death makes suspect, is charged only to whom it was charged before, and never twice."""

    def die(self, count: int, charged: int = 0) -> list[Delivery]:
        """Let a process take `count` messages, be charged with the first `charged`, and die."""
        other = self.open()
        other.lease("the dead one", 3600.0)
        deliveries = take(other, count)
        deliveries.sort(key=lambda one: ids([one]))
        if charged:
            assert other.charge(deliveries[:charged], PATIENCE) == [True] * charged
        self.end(other, count)
        return deliveries

    def end(self, other: Broker, count: int) -> None:
        """Let the process "the dead one" die, and see all `count` messages return."""
        other.close()

        def returned() -> bool:
            self.broker.release("the dead one")
            return self.broker.depth()["q"].ready == count

        until(returned, "the return of what it held")

    def found(self, count: int) -> dict[str, int]:
        """Take messages, and tell how many deaths are counted against each; they are given back."""
        deliveries = take(self.broker, count)
        counts = {ids([one])[0]: one.attempts for one in deliveries}
        assert all(settle(self.broker, deliveries, Verdict.REQUEUE))
        return counts

    def test_what_is_in_flight_at_a_death_is_suspect_and_no_more_however_often(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(2), PATIENCE)
        for _ in range(3):
            self.die(2)
        assert self.found(2) == {"0": 1, "1": 1}

    def test_a_death_is_charged_to_those_that_were_charged_with_it(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(3), PATIENCE)
        self.die(3)
        for deaths in (2, 3, 4):
            self.die(3, charged=1)
            assert self.found(3) == {"0": deaths, "1": 1, "2": 1}

    def test_a_charge_counts_once_however_often_it_is_made(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish([make()], PATIENCE)
        self.die(1)
        other = self.open()
        other.lease("the dead one", 3600.0)
        [delivery] = take(other, 1)
        assert other.charge([delivery], PATIENCE) == [True]
        assert other.charge([delivery], PATIENCE) == [True]
        assert delivery.attempts == 1
        self.end(other, 1)
        assert self.found(1) == {"1": 2}

    def test_a_charge_that_is_withdrawn_counts_nothing(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(2), PATIENCE)
        self.die(2)
        other = self.open()
        other.lease("the dead one", 3600.0)
        deliveries = take(other, 2)
        assert other.charge(deliveries, PATIENCE) == [True, True]
        assert other.charge(deliveries[:1], PATIENCE, withdraw=True) == [True]
        self.end(other, 2)
        assert sorted(self.found(2).values()) == [1, 2]

    def test_what_is_put_back_is_not_charged(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(2), PATIENCE)
        self.die(2)
        deliveries = take(self.broker, 2)
        assert self.broker.charge(deliveries, PATIENCE) == [True, True]
        one, other = deliveries
        batch = [Settlement(one, Verdict.REQUEUE), Settlement(other, Verdict.RETRY_AT, due=time.time() + 0.2)]
        assert self.broker.settle(batch, PATIENCE) == [True, True]
        assert self.found(2) == {"0": 1, "1": 1}

    def test_what_is_charged_is_settled_as_ever(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(2), PATIENCE)
        self.die(2)
        deliveries = take(self.broker, 2)
        self.broker.charge(deliveries, PATIENCE)
        assert self.broker.depth()["q"] == Depth(leased=2)
        one, other = deliveries
        batch = [Settlement(one, Verdict.ACK), Settlement(other, Verdict.DEAD, reason="it kills")]
        assert self.broker.settle(batch, PATIENCE) == [True, True]
        assert self.broker.settle(batch, PATIENCE) == [False, False]
        assert self.broker.depth()["q"] == Depth(dead=1)
        [letter] = self.broker.dead("q")
        assert letter.message == other.message
        assert self.broker.replay(letter.key)
        assert set(self.found(1).values()) == {0}

    def test_a_lost_lease_is_not_charged(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish([make()], PATIENCE)
        [late] = self.die(1)
        stranger = Delivery(None, "q", "not a token of this broker", 1)
        assert self.broker.charge([], PATIENCE) == []
        if self.broker.guarantees.timed_leases:
            assert self.broker.charge([late, stranger], PATIENCE) == [False, False]
        assert self.broker.charge([stranger], PATIENCE) == [False]
        assert self.found(1) == {"1": 1}

    def test_a_process_that_was_ended_on_purpose_leaves_no_suspects(self) -> None:
        if not self.broker.guarantees.timed_leases:
            return
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(2), PATIENCE)
        other = self.open()
        other.lease("replaced", 3600.0)
        take(other, 2)
        assert self.broker.release("replaced", charge=False) == 2
        assert self.found(2) == {"0": 0, "1": 0}

    def test_a_thousand_suspects_are_charged_at_once(self) -> None:
        if not self.broker.guarantees.leases:
            return
        count = min(1000, self.crowd)
        self.broker.publish(many(count), PATIENCE)
        self.die(count)
        deliveries = take(self.broker, count)
        assert {one.attempts for one in deliveries} == {1}
        assert self.broker.charge(deliveries, PATIENCE) == [True] * count
        assert all(settle(self.broker, deliveries, Verdict.ACK))
        assert self.broker.depth()["q"] == Depth()

    # ── taking over ──────────────────────────────────────────────────────────────────────────────────────

    def test_what_a_stuck_process_holds_of_a_task_is_taken_over(self) -> None:
        self.broker.publish(
            [make("stuck"), make("innocent"), make("stuck", "p", headers={"id": "stuck"})], PATIENCE
        )
        other = self.open()
        other.lease("stuck", 3600.0)
        held = take(other, 3, ["q", "p"])
        taken = self.broker.take_over("stuck", "stuck")
        if not (self.broker.guarantees.timed_leases and self.broker.guarantees.leases):
            assert taken == []
            return
        assert sorted((one.queue, one.attempts) for one in taken) == [("p", 0), ("q", 0)]
        assert {message.queue for message in self.messages(taken)} == {"q", "p"}
        assert self.broker.take_over("stuck", "stuck") == []
        assert self.broker.take_over("nobody", "stuck") == []
        assert self.broker.take_over(self.process, "stuck") == []
        outcome = {(one.queue, *ids([one])): one for one in held}
        assert settle(other, [outcome["q", "stuck"], outcome["p", "stuck"]], Verdict.ACK) == [False, False]
        assert settle(other, [outcome["q", "innocent"]], Verdict.ACK) == [True]
        assert settle(self.broker, taken, Verdict.ACK) == [True, True]

    def messages(self, deliveries: list[Delivery]) -> list[Message]:
        """What was delivered."""
        return [one.message for one in deliveries if one.message is not None]

    def test_what_was_taken_over_is_this_process_s(self) -> None:
        if not (self.broker.guarantees.timed_leases and self.broker.guarantees.leases):
            return
        self.broker.publish([make("a")], PATIENCE)
        other = self.open()
        other.lease("stuck", 3600.0)
        take(other, 1)
        undertaker = self.open(0.3)
        assert ids(undertaker.take_over("stuck", "a")) == ["a"]
        assert self.broker.release("stuck") == 0
        until(lambda: self.broker.reap() == 1, "the end of the undertaker's lease")
        assert self.found(1) == {"a": 1}
