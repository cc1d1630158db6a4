"""Publishing, order, priority and delay."""

from __future__ import annotations

import time

from greenq.errors import PublishError
from greenq.message import Verdict
from greenq.testing.brokers.base import HOSTILE, BrokerSuite
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take

__all__ = ["Sending"]


class Sending(BrokerSuite):
    """What is sent arrives: as it was, in order, and never too early."""

    def test_a_message_comes_back_as_it_was_sent(self) -> None:
        message = make(
            "whole",
            headers={"id": "whole", "nested": {"list": [1, 2.5, None, True, "ü"]}, "bytes": b"\0\xff"},
            body=bytes(range(256)),
            content_type="application/x-msgpack",
            content_encoding="binary",
            properties={"correlation_id": "c", "reply_to": "r"},
            priority=3,
        )
        assert self.broker.publish([message], PATIENCE) == [None]
        [delivery] = take(self.broker, 1)
        assert delivery.message == message
        assert (delivery.queue, delivery.attempts, delivery.problem) == ("q", 0, None)

    def test_nothing_to_send_is_no_error(self) -> None:
        assert self.broker.publish([], PATIENCE) == []

    def test_what_was_sent_first_comes_first(self) -> None:
        for start in range(0, 50, 10):
            self.broker.publish([make(str(start + i)) for i in range(10)], PATIENCE)
        assert self.in_order(take(self.broker, 50)) == [str(number) for number in range(50)]

    def test_the_more_urgent_comes_first_and_age_decides_among_equals(self) -> None:
        if self.broker.guarantees.priorities == 1:
            return
        urgent = self.broker.guarantees.urgent
        for id, priority in (("a", 9 - urgent), ("b", urgent), ("c", 9 - urgent), ("d", urgent)):
            self.broker.publish([make(id, priority=priority)], PATIENCE)
        assert ids(take(self.broker, 4)) == ["b", "d", "a", "c"]

    def test_the_first_queue_comes_first_whatever_the_priorities(self) -> None:
        self.broker.publish([make("second", "two", priority=9), make("first", "one")], PATIENCE)
        assert ids(take(self.broker, 2, ["one", "two"])) == ["first", "second"]

    def test_a_queue_that_was_not_asked_for_is_left_alone(self) -> None:
        self.broker.publish([make("other", "other"), make("mine", "mine")], PATIENCE)
        assert ids(self.broker.fetch(["mine"], 10, 1.0)) == ["mine"]
        assert self.broker.depth()["other"].ready == 1

    def test_each_message_has_an_answer_of_its_own(self) -> None:
        bad = make("bad", headers={"id": "bad", "thing": object()})
        answers = self.broker.publish([make("a"), bad, make("b")], PATIENCE)
        assert answers[0] is None
        assert isinstance(answers[1], PublishError)
        assert answers[2] is None
        assert self.in_order(take(self.broker, 2)) == ["a", "b"]

    def test_a_message_changed_after_it_was_sent_arrives_as_it_was(self) -> None:
        message = make("before")
        self.broker.publish([message], PATIENCE)
        message.headers["id"] = "after"
        assert ids(take(self.broker, 1)) == ["before"]

    def test_ten_thousand_messages_go_in_one_batch(self) -> None:
        assert self.broker.publish(many(self.crowd), PATIENCE) == [None] * self.crowd
        assert self.broker.depth()["q"].ready == self.crowd
        assert self.in_order(take(self.broker, self.crowd)) == [str(number) for number in range(self.crowd)]

    def test_a_body_of_ten_mebibytes_arrives_whole_between_small_ones(self) -> None:
        body = bytes(range(256)) * (10 * 1024 * 4)
        self.broker.publish([make("a"), make("big", body=body), make("b")], PATIENCE)
        deliveries = take(self.broker, 3)
        assert self.in_order(deliveries) == (
            ["a", "big", "b"] if self.broker.guarantees.ordered else ["a", "b", "big"]
        )
        [big] = [one.message for one in deliveries if one.message and one.message.headers["id"] == "big"]
        assert big.body == body

    def test_any_name_of_a_queue_works(self) -> None:
        names = self.names
        assert self.broker.publish([make(name, name) for name in names], PATIENCE) == [None] * len(names)
        assert set(names) <= set(self.broker.depth())
        for name in names:
            assert ids(take(self.broker, 1, [name])) == [name]
        refused = [make(name, name) for name in HOSTILE if name not in names]
        assert {type(error) for error in self.broker.publish(refused, PATIENCE)} <= {PublishError}

    def test_a_queue_without_a_name_is_refused(self) -> None:
        assert isinstance(self.broker.publish([make("x", "")], PATIENCE)[0], PublishError)

    def test_what_was_sent_is_still_there_after_close(self) -> None:
        self.broker.publish([make("kept")], PATIENCE)
        self.broker.close()
        again = self.open(60.0)
        assert ids(take(again, 1)) == ["kept"]

    # ── delays ───────────────────────────────────────────────────────────────────────────────────────────

    def test_a_delayed_message_never_comes_early_and_soon_after_its_time(self) -> None:
        due = time.time() + 0.6
        self.broker.publish([make("later", due=due)], PATIENCE)
        assert self.broker.fetch(["q"], 1, 0.0) == []
        [delivery] = self.broker.fetch(["q"], 1, PATIENCE)
        assert due <= time.time() < due + 5.0
        assert ids([delivery]) == ["later"]

    def test_a_message_that_is_due_already_comes_at_once(self) -> None:
        self.broker.publish([make("past", due=time.time() - 100)], PATIENCE)
        assert ids(self.broker.fetch(["q"], 1, PATIENCE)) == ["past"]

    def test_a_delayed_message_keeps_nobody_waiting(self) -> None:
        self.broker.publish([make("later", due=time.time() + 3600, priority=9), make("now")], PATIENCE)
        assert ids(self.broker.fetch(["q"], 2, PATIENCE)) == ["now"]

    def test_delayed_messages_come_in_the_order_of_their_times(self) -> None:
        now = time.time()
        self.broker.publish([make("second", due=now + 0.8), make("first", due=now + 0.3)], PATIENCE)
        assert ids([*take(self.broker, 1), *take(self.broker, 1)]) == ["first", "second"]

    def test_many_delayed_messages_cost_a_fetch_nothing(self) -> None:
        for _ in range(5):
            self.broker.publish(many(self.crowd, due=time.time() + 3600), PATIENCE)
        self.broker.publish([make("now")], PATIENCE)
        started = time.monotonic()
        for _ in range(20):
            [delivery] = self.broker.fetch(["q"], 1, PATIENCE)
            settle(self.broker, [delivery], Verdict.REQUEUE)
        assert time.monotonic() - started < 10.0
        assert self.broker.depth()["q"].delayed == self.crowd * 5
