"""Committing whole outcomes in one step, where broker and store are one server."""

from __future__ import annotations

import time
from abc import abstractmethod

from greenq.brokers.base import Broker
from greenq.chords import ChordOpening, ChordPart
from greenq.errors import PublishError
from greenq.message import FAILURE, SUCCESS, Delivery, Depth, Message, Outcome, Settlement, Verdict
from greenq.testing.messages import PATIENCE, ids, make, many, settle, take, until
from greenq.testing.payloads import encoded
from greenq.testing.stores.base import StoreSuite

__all__ = ["Committing"]


class Committing(StoreSuite):
    """For stores that can `commit` together with a broker."""

    @abstractmethod
    def partner(self) -> Broker:
        """Return a broker at the same place, which can commit together with this store."""

    @abstractmethod
    def stranger(self) -> Broker:
        """Return a broker that cannot."""

    def setup_method(self) -> None:
        """Called by pytest before each test."""
        super().setup_method()
        self.broker = self.partner()
        self.broker.lease("committer", 60.0)

    def teardown_method(self) -> None:
        """Called by pytest after each test."""
        self.broker.close()
        super().teardown_method()

    def outcome(
        self,
        delivery: Delivery,
        *publishes: Message,
        verdict: Verdict | None = Verdict.ACK,
        state: str = SUCCESS,
    ) -> Outcome:
        """Make what one run of a task leaves behind."""
        settlement = (
            None if verdict is None else Settlement(delivery, verdict, due=time.time() + 3600, reason="r")
        )
        [id] = ids([delivery])
        return Outcome(delivery, publishes, encoded(self.store, id, state, id), settlement, state)

    def commit(self, *outcomes: Outcome) -> list[bool]:
        """Commit with the partner."""
        settled = self.store.commit(self.broker, outcomes, PATIENCE)
        assert settled is not None
        return settled

    def test_a_strange_broker_cannot_be_committed_with(self) -> None:
        with self.stranger() as stranger:
            assert self.store.commit(stranger, [], PATIENCE) is None

    def test_nothing_to_commit_is_no_error(self) -> None:
        assert self.commit() == []

    def test_children_result_and_settlement_are_kept_together(self) -> None:
        self.broker.publish(many(100), PATIENCE)
        deliveries = take(self.broker, 100)
        outcomes = [self.outcome(one, make(f"child-{one.attempts}", "children")) for one in deliveries]
        assert self.commit(*outcomes) == [True] * 100
        assert self.broker.depth() == {"children": Depth(ready=100), "q": Depth()}
        assert len(self.store.get(ids(deliveries), PATIENCE)) == 100

    def test_every_verdict_can_be_committed(self) -> None:
        self.broker.publish(many(4), PATIENCE)
        outcomes = [
            self.outcome(one, verdict=verdict)
            for one, verdict in zip(take(self.broker, 4), Verdict, strict=True)
        ]
        assert self.commit(*outcomes) == [True] * 4
        assert self.broker.depth()["q"] == Depth(ready=1, delayed=1, dead=1)

    def test_nothing_is_kept_of_an_outcome_whose_lease_was_lost(self) -> None:
        other = self.partner()
        other.lease("loser", 0.2)
        self.broker.publish([make("lost")], PATIENCE)
        [lost] = take(other, 1)
        until(lambda: self.broker.reap() == 1, "the return of the message")
        self.broker.publish([make("kept")], PATIENCE)
        [again, kept] = take(self.broker, 2)
        late = self.outcome(lost, make("child of lost", "children"))
        good = self.outcome(kept, make("child of kept", "children"))
        assert self.commit(late, good) == [False, True]
        assert set(self.store.get(["lost", "kept"], PATIENCE)) == {"kept"}
        assert ids(take(self.broker, 1, ["children"])) == ["child of kept"]
        assert self.broker.fetch(["children"], 1, 0.0) == []
        assert settle(self.broker, [again], Verdict.ACK) == [True]
        other.close()

    def test_a_delivery_is_committed_once(self) -> None:
        self.broker.publish([make("once")], PATIENCE)
        [delivery] = take(self.broker, 1)
        child = make("child", "children")
        assert self.commit(self.outcome(delivery, child), self.outcome(delivery, child)) == [True, False]
        assert self.commit(self.outcome(delivery, child)) == [False]
        assert self.broker.depth()["children"] == Depth(ready=1)

    def test_an_outcome_settled_before_is_kept_all_the_same(self) -> None:
        self.broker.publish([make("early")], PATIENCE)
        [delivery] = take(self.broker, 1)
        settle(self.broker, [delivery], Verdict.ACK)
        assert self.commit(self.outcome(delivery, make("child", "children"), verdict=None)) == [True]
        assert set(self.store.get(["early"], PATIENCE)) == {"early"}
        assert self.broker.depth()["children"] == Depth(ready=1)

    def test_a_final_state_is_not_overwritten_by_a_commit(self) -> None:
        self.put("again", value="first")
        self.broker.publish([make("again")], PATIENCE)
        [delivery] = take(self.broker, 1)
        assert self.commit(self.outcome(delivery)) == [True]
        found = self.get("again")
        assert found is not None
        assert found.value == "first"

    def test_a_child_that_cannot_be_sent_undoes_the_whole_commit(self) -> None:
        self.broker.publish([make("parent")], PATIENCE)
        [delivery] = take(self.broker, 1)
        bad = make("bad", "children", headers={"thing": object()})
        try:
            self.commit(self.outcome(delivery, make("good", "children"), bad))
        except PublishError:
            pass
        else:
            raise AssertionError("a message that cannot be sent was committed")
        assert self.broker.depth() == {"q": Depth(leased=1)}
        assert self.get("parent") is None

    def in_chord(self, delivery: Delivery, number: int) -> Outcome:
        """Make what one member of a chord leaves behind, and what it decides of another task."""
        outcome = self.outcome(delivery)
        part = ChordPart("chord", f"m{number}", number, SUCCESS, number, {"task": "sum"})
        self.store.encode_part(part)
        outcome.parts = (part,)
        outcome.further = (encoded(self.store, f"after {number}", FAILURE),)
        return outcome

    def test_members_of_chords_are_counted_in_the_same_step(self) -> None:
        self.broker.publish([make("opens"), *many(2)], PATIENCE)
        opens, *members = take(self.broker, 3)
        first = self.outcome(opens, make("child", "children"))
        first.openings = (ChordOpening("chord", 2, [["chord", None], []]),)
        outcomes = [self.in_chord(delivery, number) for number, delivery in enumerate(members)]
        assert self.commit(first, *outcomes) == [True] * 3
        due = [outcome.parts[0].due for outcome in outcomes]
        assert [one is None for one in due] == [True, False]
        assert self.store.restore_group("chord", PATIENCE) == [["chord", None], []]
        pieces = [list(piece) for piece in self.store.joined("chord", PATIENCE)]
        assert [self.store.decode_part(payload)[2] for piece in pieces for payload in piece] == [0, 1]
        assert {"after 0", "after 1"} == set(self.store.get(["after 0", "after 1", "after 2"], PATIENCE))
        assert self.broker.depth()["children"] == Depth(ready=1)

    def test_a_member_whose_lease_was_lost_is_not_counted(self) -> None:
        self.store.open_chords([ChordOpening("chord", 1)], PATIENCE)
        self.broker.publish([make("once")], PATIENCE)
        [delivery] = take(self.broker, 1)
        settle(self.broker, [delivery], Verdict.ACK)
        late = self.in_chord(delivery, 0)
        assert self.commit(late) == [False]
        assert late.parts[0].due is None
        assert list(self.store.joined("chord", PATIENCE)) == []
        assert self.store.get(["after 0"], PATIENCE) == {}

    def test_a_final_state_of_another_task_is_not_overwritten_by_a_commit(self) -> None:
        self.put("after 0", value="first")
        self.store.open_chords([ChordOpening("chord", 1)], PATIENCE)
        self.broker.publish([make("member")], PATIENCE)
        [delivery] = take(self.broker, 1)
        outcome = self.in_chord(delivery, 0)
        assert self.commit(outcome) == [True]
        assert outcome.parts[0].due is not None
        found = self.get("after 0")
        assert found is not None
        assert found.value == "first"

    def test_a_commit_wakes_those_who_wait(self) -> None:
        self.broker.publish([make("task")], PATIENCE)
        [delivery] = take(self.broker, 1)
        other = self.partner()
        other.lease("waiting", 60.0)
        result = self.beside(lambda: self.store.wait(["task"], PATIENCE))
        child = self.beside(lambda: ids(other.fetch(["children"], 1, PATIENCE)))
        time.sleep(0.2)
        self.commit(self.outcome(delivery, make("child", "children")))
        assert set(result()) == {"task"}
        assert child() == ["child"]
        other.close()
