"""What RabbitMQ pushes: no more than there are slots, and nothing that waits here while others are free."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest

from greenq.amqp import topology
from greenq.amqp.topology import returned_name
from greenq.brokers.amqp import AmqpBroker
from greenq.exchanges import Shape
from greenq.message import Delivery, Depth, Verdict
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from tests.rabbit import shared_rabbit

SLOTS = 200


@pytest.fixture
def broker() -> Iterator[AmqpBroker]:
    with AmqpBroker(shared_rabbit().empty()) as made:
        made.lease("p", 60.0)
        made.slots = SLOTS
        yield made


@pytest.fixture
def other(broker: AmqpBroker) -> Iterator[AmqpBroker]:
    with another(broker) as made:
        yield made


def another(broker: AmqpBroker) -> AmqpBroker:
    """Another process's, on the same server."""
    made = AmqpBroker(f"{shared_rabbit().url}/{broker.address.vhost}")
    made.lease("other", 60.0)
    made.expect(["q"])
    return made


def is_pushing(broker: AmqpBroker) -> None:
    assert broker._inbox.pushes.quota


class TestSlots:
    def test_everything_comes_in_its_order(self, broker: AmqpBroker) -> None:
        broker.publish(many(1000), PATIENCE)
        found: list[str] = []
        while len(found) < 1000:
            held = take(broker, min(SLOTS, 1000 - len(found)))
            is_pushing(broker)
            found += ids(held)
            assert all(settle(broker, held, Verdict.ACK))
        assert found == [str(number) for number in range(1000)]
        assert broker.depth()["q"] == Depth()

    def test_no_more_comes_than_there_are_slots(self, broker: AmqpBroker, other: AmqpBroker) -> None:
        broker.publish(many(1000), PATIENCE)
        held = take(broker, SLOTS)
        is_pushing(broker)
        assert other.depth()["q"].ready == 1000 - SLOTS
        assert all(settle(broker, held[:50], Verdict.ACK))
        more = take(broker, 50)
        assert other.depth()["q"].ready == 1000 - SLOTS - 50
        assert ids(more) == [str(number) for number in range(SLOTS, SLOTS + 50)]

    def test_slots_that_were_taken_otherwise_are_found_once_they_are_free(
        self, broker: AmqpBroker, other: AmqpBroker
    ) -> None:
        broker.publish(many(1000), PATIENCE)
        broker.slots = 0
        asked = take(broker, 150)
        broker.slots = SLOTS
        pushed = take(broker, 50)
        is_pushing(broker)
        assert other.depth()["q"].ready == 1000 - SLOTS
        assert all(settle(broker, asked, Verdict.ACK))
        pushed += take(broker, 150)
        assert broker._inbox.pushes.quota == SLOTS
        assert other.depth()["q"].ready == 1000 - SLOTS - 150
        assert len(set(ids([*asked, *pushed]))) == 350

    def test_fewer_slots_than_before_are_heeded(self, broker: AmqpBroker, other: AmqpBroker) -> None:
        broker.publish(many(1000), PATIENCE)
        assert all(settle(broker, take(broker, SLOTS), Verdict.ACK))
        broker.slots = 100
        held = take(broker, 100)
        held += take(broker, sum(broker._inbox.surplus().values()))  # what was on its way
        assert all(settle(broker, held, Verdict.ACK))
        held = take(broker, 100)
        until(lambda: broker._inbox.pushes.quota == 100, "the smaller number")
        assert sum(broker._inbox.surplus().values()) <= SLOTS

    def test_free_slots_that_the_server_cannot_know_of_are_filled(self, broker: AmqpBroker) -> None:
        """What was fetched may wait for something else than a slot, a suspect for its trial."""
        broker.publish(many(SLOTS + 10), PATIENCE)
        take(broker, SLOTS)
        assert len(take(broker, 10)) == 10

    def test_several_queues_are_served_in_their_order(self, broker: AmqpBroker) -> None:
        broker.publish(many(300, "second"), PATIENCE)
        broker.publish(many(300, "first"), PATIENCE)
        held = take(broker, 400, ["first", "second"])
        assert [delivery.queue for delivery in held] == ["first"] * 300 + ["second"] * 100


class TestOthers:
    def test_what_nobody_takes_here_is_left_to_others(self, broker: AmqpBroker, other: AmqpBroker) -> None:
        """A task that blocks its hub must not keep what was pushed to its worker."""
        assert broker.fetch(["q"], SLOTS, 0.3) == []
        is_pushing(broker)
        broker.publish(many(20), PATIENCE)
        until(lambda: broker._inbox.surplus() == {"q": 20}, "the push")
        found = take(other, 20)
        assert set(ids(found)) == set(ids_of(20))
        assert [delivery.attempts for delivery in found] == [0] * 20
        assert all(settle(other, found, Verdict.ACK))
        broker.publish(many(5), PATIENCE)
        assert len(take(broker, 5)) == 5, "it must be there again"

    def test_what_was_pushed_is_left_to_others_when_a_worker_stops(
        self, broker: AmqpBroker, other: AmqpBroker
    ) -> None:
        broker.publish(many(1000), PATIENCE)
        held = broker.fetch(["q"], SLOTS, PATIENCE)
        until(lambda: other.depth()["q"].ready == 1000 - SLOTS, "the push")
        broker.wake()
        assert broker._inbox.surplus() == {}
        assert other.depth()["q"].ready == 1000 - len(held)
        assert all(settle(broker, held, Verdict.ACK))
        rest = take(other, 1000 - len(held))
        assert set(ids([*held, *rest])) == set(ids_of(1000))
        assert [delivery.attempts for delivery in rest] == [0] * len(rest)
        assert all(settle(other, rest, Verdict.ACK))

    def test_two_workers_share_what_comes(self, broker: AmqpBroker, other: AmqpBroker) -> None:
        other.slots = SLOTS
        found: list[list[Delivery]] = [[], []]
        ends = threading.Event()

        def work(one: AmqpBroker, to: list[Delivery]) -> None:
            while not ends.is_set():
                some = one.fetch(["q"], SLOTS, 0.1)
                to.extend(some)
                assert all(settle(one, some, Verdict.ACK))

        workers = [
            threading.Thread(target=work, args=pair) for pair in zip((broker, other), found, strict=True)
        ]
        for worker in workers:
            worker.start()
        try:
            for start in range(0, 3000, 100):
                broker.publish([make(str(start + number)) for number in range(100)], PATIENCE)
            until(lambda: sum(map(len, found)) == 3000, "the end of the work")
        finally:
            ends.set()
            for worker in workers:
                worker.join(PATIENCE)
        assert set(ids([*found[0], *found[1]])) == set(ids_of(3000))


class TestLosses:
    def test_a_lost_connection_repeats_nothing_that_is_held(self, broker: AmqpBroker) -> None:
        broker.publish(many(500), PATIENCE)
        held = take(broker, SLOTS)
        session = broker._inbox.line.alive
        shared_rabbit().cut()
        until(lambda: session is None or session.lost is not None, "the loss")
        found: set[str] = set(ids(held))
        settled = 0
        while settled < 500:
            done = settle(broker, held, Verdict.ACK)
            # What was not recognised yet is delivered again, and taken out then.
            settled += len(done) if all(done) else len([one for one in done if one])
            if settled >= 500 or len(found) == 500:
                break
            held = broker.fetch(["q"], SLOTS, PATIENCE)
            assert not found & set(ids(held))
            found |= set(ids(held))
        assert found == set(ids_of(500))

    def test_what_runs_here_is_not_left_to_others(self, broker: AmqpBroker, other: AmqpBroker) -> None:
        broker.publish(many(5), PATIENCE)
        held = take(broker, 5)
        session = broker._inbox.line.alive
        shared_rabbit().cut()
        until(lambda: session is None or session.lost is not None, "the loss")
        broker._inbox._look_at = math.inf  # a round trip in which they would be taken
        assert broker.fetch(["q"], SLOTS, 0.0) == []
        # From here on the hub does something else, and the five are pushed to this process again.
        until(lambda: broker.depth()["q"].leased == 5, "their recognition")
        assert other.fetch(["q"], SLOTS, 1.5) == []
        assert settle(broker, held, Verdict.ACK) == [True] * 5
        until(lambda: broker.depth()["q"] == Depth(), "the end")

    def test_a_queue_that_was_deleted_is_made_again(self, broker: AmqpBroker) -> None:
        assert broker.fetch(["q"], SLOTS, 0.3) == []
        is_pushing(broker)
        broker.publish(many(3), PATIENCE)
        assert all(settle(broker, take(broker, 3), Verdict.ACK))
        shared_rabbit().control("delete_queue", "-p", broker.address.vhost, "q")
        until(lambda: not broker._inbox.pushes.quota, "the server's word")
        assert broker.fetch(["q"], SLOTS, 0.3) == []
        broker.publish(many(3), PATIENCE)
        assert len(take(broker, 3)) == 3


class TestReturns:
    def test_who_died_in_its_trial_comes_before_what_waits(self, broker: AmqpBroker) -> None:
        broker.publish([make("suspect")], PATIENCE)
        with another(broker) as dying:
            suspect = take(dying, 1)
            assert dying.charge(suspect, PATIENCE) == [True]
            broker.publish(many(2000), PATIENCE)
        found: list[Delivery] = []
        while "suspect" not in ids(found):
            some = take(broker, 1)
            found += some
            assert all(settle(broker, some, Verdict.ACK))
        assert len(found) < 2000, "it waited behind all others"
        assert [found[-1].attempts, found[-1].queue] == [1, "q"]

    def test_an_idle_worker_is_told_of_who_died_in_its_trial(self, broker: AmqpBroker) -> None:
        broker.publish([make("suspect")], PATIENCE)
        with another(broker) as dying:
            assert dying.charge(take(dying, 1), PATIENCE) == [True]
            found: list[Delivery] = []
            waiting = threading.Thread(target=lambda: found.extend(broker.fetch(["q"], SLOTS, PATIENCE)))
            waiting.start()
            until(lambda: returned_name("q") in broker._inbox.pushes.passing, "the wait")
        waiting.join(PATIENCE)
        assert [(one.queue, one.attempts) for one in found] == [("q", 1)]
        assert settle(broker, found, Verdict.ACK) == [True]
        assert broker.depth()["q"] == Depth()

    def test_where_no_worker_of_ours_is_left_it_returns_to_its_queue(
        self, broker: AmqpBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(topology, "RETURNED_LASTS", 0.2)
        broker.publish([make("suspect")], PATIENCE)
        with another(broker) as dying:
            assert dying.charge(take(dying, 1), PATIENCE) == [True]

        def ready() -> str:
            listed = shared_rabbit().control("list_queues", "-p", broker.address.vhost, "name", "messages")
            return dict(line.split("\t") for line in listed.splitlines() if "\t" in line)["q"]

        until(lambda: ready() == "1", "its return to where Celery's workers find it")

    def test_what_returned_is_counted_and_purged(self, broker: AmqpBroker) -> None:
        broker.publish([make("suspect")], PATIENCE)
        with another(broker) as dying:
            assert dying.charge(take(dying, 1), PATIENCE) == [True]
        until(lambda: broker.depth()["q"].ready == 1, "its return")
        assert broker.purge("q") == 1
        assert broker.depth()["q"] == Depth()

    def test_a_queue_that_goes_with_its_consumers_leaves_none_for_returns(self, broker: AmqpBroker) -> None:
        broker.shape({"fleeting": Shape(name="fleeting", auto_delete=True)})
        assert broker.fetch(["fleeting"], 1, 0.1) == []
        names = shared_rabbit().control("list_queues", "-p", broker.address.vhost, "name")
        assert "fleeting" in names
        assert returned_name("fleeting") not in names


def ids_of(count: int) -> list[str]:
    return [str(number) for number in range(count)]
