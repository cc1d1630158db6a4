"""Fetching, leases and settlements."""

from __future__ import annotations

import threading
import time

from greenq.errors import BrokerError
from greenq.message import Delivery, Depth, Message, Settlement, Verdict
from greenq.testing.brokers.base import BrokerSuite
from greenq.testing.messages import PATIENCE, ids, make, many, refuses, settle, take, until

__all__ = ["Leasing"]


class Leasing(BrokerSuite):
    """A message belongs to one process at a time, and comes back when that process is gone."""

    def lost(self) -> Delivery:
        """Deliver one message to a process whose lease then ends, and let it be returned."""
        self.broker.publish([make("lost")], PATIENCE)
        other = self.open(0.2)
        [delivery] = take(other, 1)
        if self.broker.guarantees.timed_leases:
            until(lambda: self.broker.reap() == 1, "the return of the lost message")
        else:
            other.close()
            until(lambda: self.broker.depth()["q"].ready == 1, "the return of the lost message")
        return delivery

    # ── fetching ─────────────────────────────────────────────────────────────────────────────────────────

    def test_fetching_needs_a_lease(self) -> None:
        refuses(BrokerError, lambda: self.open().fetch(["q"], 1, 0.0), "lease")

    def test_a_fetch_takes_no_more_than_it_was_asked_for(self) -> None:
        self.broker.publish(many(10), PATIENCE)
        assert self.broker.fetch(["q"], 0, 0.0) == []
        assert 1 <= len(self.broker.fetch(["q"], 3, 1.0)) <= 3
        if self.broker.guarantees.exact_fetch:
            assert self.broker.depth()["q"] == Depth(ready=7, leased=3)

    def test_a_fetch_from_empty_queues_ends_after_its_timeout(self) -> None:
        started = time.monotonic()
        assert self.broker.fetch(["q", "never-seen"], 1, 0.3) == []
        assert 0.25 < time.monotonic() - started < PATIENCE

    def test_what_one_process_holds_no_other_is_given(self) -> None:
        self.broker.publish(many(2), PATIENCE)
        take(self.broker, 2)
        assert self.open(60.0).fetch(["q"], 2, 0.2) == []

    def test_a_waiting_fetch_is_woken_by_a_message(self) -> None:
        found: list[Delivery] = []
        waiting = threading.Thread(target=lambda: found.extend(self.broker.fetch(["q"], 1, PATIENCE)))
        waiting.start()
        time.sleep(0.3)
        self.open().publish([make("woken")], PATIENCE)
        waiting.join(PATIENCE / 2)
        assert ids(found) == ["woken"]

    def test_wake_ends_a_waiting_fetch_at_once(self) -> None:
        found: list[list[Delivery]] = []
        waiting = threading.Thread(target=lambda: found.append(self.broker.fetch(["q"], 1, PATIENCE)))
        waiting.start()
        time.sleep(0.3)
        self.broker.wake()
        waiting.join(PATIENCE / 2)
        assert found == [[]]

    def test_a_fetch_after_a_wake_finds_messages_as_ever(self) -> None:
        self.broker.wake()
        self.broker.fetch(["q"], 1, 0.1)
        self.broker.publish([make()], PATIENCE)
        assert ids(take(self.broker, 1)) == ["1"]

    def test_concurrent_fetchers_never_get_the_same_message(self) -> None:
        count = min(1000, self.crowd)
        self.broker.publish(many(count), PATIENCE)
        brokers = [self.open(60.0), self.open(60.0), self.broker, self.broker]
        found: list[list[str]] = [[] for _ in brokers]
        failures: list[BaseException] = []

        def drain(number: int) -> None:
            try:
                while deliveries := brokers[number].fetch(["q"], 5, 1.0):
                    found[number] += ids(deliveries)
                    assert all(settle(brokers[number], deliveries, Verdict.ACK))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=drain, args=(number,)) for number in range(len(brokers))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
        assert not failures
        assert sorted(int(id) for ids_ in found for id in ids_) == list(range(count))

    # ── settling ─────────────────────────────────────────────────────────────────────────────────────────

    def test_an_acknowledged_message_is_gone(self) -> None:
        self.broker.publish([make()], PATIENCE)
        assert settle(self.broker, take(self.broker, 1), Verdict.ACK) == [True]
        assert self.broker.depth()["q"] == Depth()

    def test_nothing_to_settle_is_no_error(self) -> None:
        assert self.broker.settle([], PATIENCE) == []

    def test_a_delivery_is_settled_once(self) -> None:
        self.broker.publish([make()], PATIENCE)
        [delivery] = take(self.broker, 1)
        assert settle(self.broker, [delivery, delivery], Verdict.REQUEUE) == [True, False]
        assert settle(self.broker, [delivery], Verdict.ACK) == [False]
        until(lambda: self.broker.depth()["q"] == Depth(ready=1), "the return of the message")

    def test_a_large_mixed_batch_is_settled_item_by_item(self) -> None:
        quarter = min(250, self.crowd // 4)
        self.broker.publish(many(quarter * 4), PATIENCE)
        deliveries = take(self.broker, quarter * 4)
        verdicts = [Verdict.ACK, Verdict.REQUEUE, Verdict.RETRY_AT, Verdict.DEAD]
        later = time.time() + 3600
        batch = [Settlement(d, verdicts[i % 4], due=later, reason="r") for i, d in enumerate(deliveries)]
        stranger = Delivery(None, "q", "not a token of this broker")
        batch.insert(quarter * 2, Settlement(stranger, Verdict.ACK))
        half = [True] * (quarter * 2)
        assert self.broker.settle(batch, PATIENCE) == [*half, False, *half]
        depth = Depth(ready=quarter, delayed=quarter, leased=0, dead=quarter)
        until(lambda: self.broker.depth()["q"] == depth, "the end of all deliveries")

    def test_a_requeued_message_goes_to_the_front_of_its_priority(self) -> None:
        if not self.broker.guarantees.leases:
            return
        urgent = self.broker.guarantees.urgent
        self.broker.publish([make(id, priority=9 - urgent) for id in ("a", "b", "c", "late")], PATIENCE)
        first = take(self.broker, 2)
        assert settle(self.broker, first, Verdict.REQUEUE) == [True, True]
        if self.broker.guarantees.priorities > 1:
            self.broker.publish([make("urgent", priority=urgent)], PATIENCE)
            assert ids(take(self.broker, 1)) == ["urgent"]
        if not self.broker.guarantees.returns_in_front:
            assert set(ids(take(self.broker, 4))) == {"a", "b", "c", "late"}
            return
        assert set(ids(take(self.broker, 2))) == {"a", "b"}
        assert ids(take(self.broker, 2)) == ["c", "late"]

    def test_a_message_put_back_for_later_comes_then(self) -> None:
        self.broker.publish([make("again")], PATIENCE)
        due = time.time() + 0.5
        assert settle(self.broker, take(self.broker, 1), Verdict.RETRY_AT, due=due) == [True]
        assert self.broker.depth()["q"] == Depth(delayed=1)
        [delivery] = self.broker.fetch(["q"], 1, PATIENCE)
        assert time.time() >= due
        assert ids([delivery]) == ["again"]

    def test_a_message_put_back_for_later_needs_a_time(self) -> None:
        self.broker.publish([make()], PATIENCE)
        deliveries = take(self.broker, 1)
        refuses(BrokerError, lambda: settle(self.broker, deliveries, Verdict.RETRY_AT), "time")
        assert self.broker.depth()["q"] == Depth(leased=1)

    def test_a_strange_token_is_a_lost_lease(self) -> None:
        strange = [None, 1, "x", [1, 2, 3], (1, 2, 3), ("a", 1, 1), (1, 2, [3]), b"\0"]
        deliveries = [Delivery(None, "q", token) for token in strange]
        assert settle(self.broker, deliveries, Verdict.ACK) == [False] * len(strange)

    def test_every_delivery_has_a_token_of_its_own(self) -> None:
        self.broker.publish([make()], PATIENCE)
        tokens = []
        for _ in range(5):
            [delivery] = take(self.broker, 1)
            tokens.append(repr(delivery.token))
            settle(self.broker, [delivery], Verdict.REQUEUE)
        assert len(set(tokens)) == 5

    # ── leases ───────────────────────────────────────────────────────────────────────────────────────────

    def test_what_a_process_held_comes_back_when_its_lease_runs_out(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.lost()
        self.broker.publish([make("new")], PATIENCE)
        deliveries = take(self.broker, 2)
        if not self.broker.guarantees.returns_in_front:
            deliveries.sort(key=lambda delivery: ids([delivery]))
        assert ids(deliveries) == ["lost", "new"]
        assert [delivery.attempts for delivery in deliveries] == [1, 0]

    def test_a_late_settlement_changes_nothing(self) -> None:
        if not self.broker.guarantees.leases:
            return
        late = self.lost()
        [current] = take(self.broker, 1)
        for verdict in Verdict:
            assert settle(self.broker, [late], verdict, due=time.time(), reason="late") == [False]
        assert self.broker.depth()["q"] == Depth(leased=1)
        assert settle(self.broker, [current], Verdict.ACK) == [True]

    def test_a_renewed_lease_is_kept(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish([make()], PATIENCE)
        other = self.open(1.0)
        deliveries = take(other, 1)
        until_ = time.monotonic() + 2.5
        while time.monotonic() < until_:
            other.renew()
            assert self.broker.reap() == 0
            time.sleep(0.1)
        assert settle(other, deliveries, Verdict.ACK) == [True]

    def test_a_process_that_was_taken_for_dead_goes_on(self) -> None:
        if not self.broker.guarantees.timed_leases:
            return
        if not self.broker.guarantees.leases:
            return
        self.broker.publish([make("a")], PATIENCE)
        other = self.open(0.2)
        take(other, 1)
        until(lambda: self.broker.reap() == 1, "the return of its message")
        other.renew()
        deliveries = take(other, 1)
        assert self.broker.reap() == 0 or settle(other, deliveries, Verdict.ACK) == [False]

    def test_nobody_reaps_what_it_holds_itself(self) -> None:
        self.broker.publish([make()], PATIENCE)
        other = self.open(0.1)
        deliveries = take(other, 1)
        time.sleep(0.3)
        assert other.reap() == 0
        assert settle(other, deliveries, Verdict.ACK) == [True]

    def test_a_dead_process_is_released_at_once(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish(many(3), PATIENCE)
        other = self.open()
        other.lease("the dead one", 3600.0)
        take(other, 2)
        if self.broker.guarantees.timed_leases:
            assert self.broker.release("the dead one") == 2
        else:
            other.close()
            until(lambda: self.broker.depth()["q"].ready == 3, "the return of two messages")
        assert self.broker.release("the dead one") == 0
        assert self.broker.release("nobody") == 0
        attempts = [delivery.attempts for delivery in take(self.broker, 3)]
        assert (attempts if self.broker.guarantees.returns_in_front else sorted(attempts)[::-1]) == [1, 1, 0]

    def test_giving_back_at_the_end_counts_as_no_attempt(self) -> None:
        self.broker.publish([make()], PATIENCE)
        take(self.broker, 1)
        assert self.broker.release(self.process) == 1
        self.broker.lease("a new name", 60.0)
        assert take(self.broker, 1)[0].attempts == 0

    def test_closing_keeps_the_leases(self) -> None:
        if not self.broker.guarantees.leases:
            return
        self.broker.publish([make()], PATIENCE)
        other = self.open(60.0)
        take(other, 1)
        other.close()
        if self.broker.guarantees.timed_leases:
            assert self.broker.fetch(["q"], 1, 0.2) == []
            assert self.broker.depth()["q"] == Depth(leased=1)
        else:
            assert ids(take(self.broker, 1)) == ["1"]

    def test_closing_gives_back_what_no_lease_keeps(self) -> None:
        if self.broker.guarantees.leases:
            return
        self.broker.publish([make("kept")], PATIENCE)
        other = self.open(60.0)
        take(other, 1)
        other.close()
        assert ids(take(self.broker, 1)) == ["kept"]

    def test_a_message_that_came_back_wakes_a_waiting_fetch(self) -> None:
        self.broker.publish([make("back")], PATIENCE)
        deliveries = take(self.broker, 1)
        other = self.open(60.0)
        found: list[Message | None] = []
        waiting = threading.Thread(
            target=lambda: found.extend(one.message for one in other.fetch(["q"], 1, PATIENCE))
        )
        waiting.start()
        time.sleep(0.3)
        settle(self.broker, deliveries, Verdict.REQUEUE)
        waiting.join(PATIENCE / 2)
        assert len(found) == 1
