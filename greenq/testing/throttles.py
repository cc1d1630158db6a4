"""The conformance suite of stores of limits: every sentence of the `ThrottleStore` contract, as tests.

A third party runs it against its own store::

    from greenq.testing.throttles import ThrottleConformance

    class TestMyStore(ThrottleConformance):
        def open(self):                               # the same place within one test, new for each
            return self.opened(MyStore(self.address))
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import pytest

from greenq.errors import BrokerError
from greenq.testing.messages import PATIENCE, until
from greenq.throttling.base import Ask, Claim, Limit, Slot, ThrottleStore

__all__ = ["ThrottleConformance"]

HOUR = 3600.0
SOON = 0.3
"""Seconds of what is to run out within a test."""


def ask(id: str, *limits: Limit, owner: str = "one", lease: float = HOUR) -> Ask:
    """What a task needs before it may start."""
    return Ask(id, owner, lease, limits)


class ThrottleConformance(ABC):
    """What every store of limits must do."""

    @abstractmethod
    def open(self) -> ThrottleStore:
        """Make another store for the test's place, and pass it through `opened`."""

    def opened(self, store: ThrottleStore) -> ThrottleStore:
        """Have it closed after the test."""
        self._opened.append(store)
        return store

    def setup_method(self) -> None:
        """Called by pytest before each test."""
        self._opened: list[ThrottleStore] = []
        self.store = self.open()

    def teardown_method(self) -> None:
        """Called by pytest after each test."""
        for store in self._opened:
            store.close()

    def hold(self, key: str, id: str, seconds: float = HOUR, instead: str | None = None) -> str | None:
        """Claim one key."""
        return self.store.hold([Claim(key, id, seconds, instead)], PATIENCE)[0]

    def admit(self, *asks: Ask) -> list[float]:
        """Ask for all at once."""
        return self.store.admit(asks, PATIENCE)

    def may(self, id: str, *limits: Limit, owner: str = "one", lease: float = HOUR) -> bool:
        """Whether one may start."""
        return self.admit(ask(id, *limits, owner=owner, lease=lease)) == [0.0]

    # ── unique tasks ─────────────────────────────────────────────────────────────────────────────────────

    def test_a_key_has_one_holder(self) -> None:
        assert self.hold("k", "a") is None
        assert self.hold("k", "b") == "a"
        assert self.hold("other", "b") is None

    def test_the_holder_may_hold_again(self) -> None:
        assert self.hold("k", "a") is None
        assert self.hold("k", "a") is None

    def test_many_keys_are_claimed_at_once_each_by_itself(self) -> None:
        claims = [Claim("k", "a", HOUR), Claim("k", "b", HOUR), Claim("l", "c", HOUR)]
        assert self.store.hold(claims, PATIENCE) == [None, "a", None]
        assert self.store.hold([], PATIENCE) == []

    def test_a_key_that_was_given_back_is_free(self) -> None:
        self.hold("k", "a")
        self.store.free([("k", "a")], PATIENCE)
        assert self.hold("k", "b") is None

    def test_nobody_gives_back_what_another_holds(self) -> None:
        self.hold("k", "a")
        self.store.free([("k", "b"), ("unknown", "a")], PATIENCE)
        assert self.hold("k", "b") == "a"

    def test_a_key_is_free_after_its_time(self) -> None:
        self.hold("k", "a", SOON)
        assert self.hold("k", "b") == "a"
        until(lambda: self.hold("k", "b") is None, "the end of the hold")

    def test_a_key_is_taken_from_one_that_ended_and_from_no_other(self) -> None:
        self.hold("k", "a")
        assert self.hold("k", "c", instead="b") == "a"
        assert self.hold("k", "c", instead="a") is None
        assert self.hold("k", "d", instead="a") == "c"

    def test_of_many_that_claim_at_once_one_gets_it(self) -> None:
        def claim(number: int) -> str | None:
            return self.store.hold([Claim("k", f"t{number}", HOUR)], PATIENCE)[0]

        with ThreadPoolExecutor(16) as threads:
            holders = list(threads.map(claim, range(64)))
        assert holders.count(None) == 1
        assert len(set(holders)) == 2

    def test_strange_names_are_names(self) -> None:
        for name in ("", "k\x00l", "ключ", "a" * 5000, "%s{}*?[", "a\nb"):
            assert self.hold(f"key {name}", f"id {name}") is None
            assert self.hold(f"key {name}", "b") == f"id {name}"
            assert self.may(f"id {name}", Limit(f"slots {name}", slots=1))

    # ── slots ────────────────────────────────────────────────────────────────────────────────────────────

    def test_no_more_start_than_there_are_slots(self) -> None:
        limit = Limit("k", slots=2)
        dues = self.admit(*(ask(f"t{number}", limit) for number in range(5)))
        assert dues[:2] == [0.0, 0.0]
        assert all(due > 0 for due in dues[2:])

    def test_those_that_wait_are_asked_back_soon(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit))
        for _ in range(2):
            before = time.time()
            (due,) = self.admit(ask("b", limit))
            assert before < due <= time.time() + 1.0

    def test_who_waits_for_a_long_one_asks_no_more_than_a_few_times_a_second(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit))
        until(lambda: self.admit(ask("b", limit))[0] - time.time() > 0.2, "the questions become fewer")

    def test_ten_thousand_that_wait_ask_in_turn(self) -> None:
        limit = Limit("k", slots=2)
        dues = [due for due in self.admit(*(ask(f"t{number}", limit) for number in range(10_000))) if due]
        now = min(dues)
        assert sum(due < now + 1.0 for due in dues) < 200

    def test_keys_have_slots_of_their_own(self) -> None:
        assert self.may("a", Limit("k", slots=1))
        assert self.may("b", Limit("l", slots=1))

    def test_a_slot_that_was_given_back_is_free(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit))
        self.store.leave([Slot("k", "a", "one")], PATIENCE)
        assert self.may("b", limit)

    def test_nobody_gives_back_what_another_process_has(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit))
        self.store.leave([Slot("k", "a", "two"), Slot("k", "b", "one"), Slot("l", "a", "one")], PATIENCE)
        assert not self.may("b", limit)

    def test_a_slot_that_is_not_renewed_is_free_after_its_lease(self) -> None:
        limit = Limit("k", slots=1)
        assert self.may("a", limit, lease=SOON)
        assert not self.may("b", limit)
        until(lambda: self.may("b", limit), "a free slot")

    def test_a_slot_that_is_renewed_stays(self) -> None:
        limit, slot = Limit("k", slots=1), Slot("k", "a", "one")
        assert self.may("a", limit, lease=1.0)
        assert self.store.renew([slot], HOUR, PATIENCE) == []
        ended = time.monotonic() + 1.5
        until(lambda: time.monotonic() > ended, "the end of the first lease")
        assert not self.may("b", limit)

    def test_renewing_says_which_are_lost(self) -> None:
        limit = Limit("k", slots=2)
        self.admit(ask("a", limit), ask("b", limit))
        slots = [Slot("k", "a", "one"), Slot("k", "b", "two"), Slot("k", "c", "one")]
        assert self.store.renew(slots, HOUR, PATIENCE) == slots[1:]
        assert self.store.renew([], HOUR, PATIENCE) == []

    def test_a_task_that_is_delivered_again_takes_over_its_own_slot(self) -> None:
        limit = Limit("k", slots=1)
        assert self.may("a", limit, owner="dead")
        assert self.may("a", limit, owner="alive")
        self.store.leave([Slot("k", "a", "dead")], PATIENCE)
        assert not self.may("b", limit)
        assert self.store.renew([Slot("k", "a", "dead")], HOUR, PATIENCE) == [Slot("k", "a", "dead")]

    def test_what_runs_takes_its_slot_again_whatever_the_limit_says(self) -> None:
        limit = Limit("k", slots=1)
        assert self.may("b", limit)
        self.store.retake([Slot("k", "a", "one")], HOUR, PATIENCE)
        self.store.leave([Slot("k", "b", "one")], PATIENCE)
        assert not self.may("c", limit)

    def test_what_another_process_took_over_is_not_retaken(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit, owner="two"))
        self.store.retake([Slot("k", "a", "one")], HOUR, PATIENCE)
        assert self.store.renew([Slot("k", "a", "two")], HOUR, PATIENCE) == []

    def test_who_asked_first_gets_the_slot_first(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit), ask("b", limit), ask("c", limit))
        self.store.leave([Slot("k", "a", "one")], PATIENCE)
        assert not self.may("new", limit)
        assert not self.may("c", limit)
        assert self.may("b", limit)

    def test_who_does_not_come_holds_nobody_up_for_long(self) -> None:
        limit = Limit("k", slots=1)
        self.admit(ask("a", limit), ask("gone", limit))
        self.store.leave([Slot("k", "a", "one")], PATIENCE)
        assert not self.may("b", limit)
        until(lambda: self.may("b", limit), "a free slot")

    # ── rates ────────────────────────────────────────────────────────────────────────────────────────────

    def test_a_rate_lets_one_start_and_says_when_the_others_may(self) -> None:
        limit = Limit("k", interval=10.0)
        before = time.time()
        dues = self.admit(*(ask(f"t{number}", limit) for number in range(4)))
        assert dues[0] == 0.0
        for number, due in enumerate(dues[1:], 1):
            assert before + 10.0 * number - 1.0 < due < before + 10.0 * number + PATIENCE

    def test_who_comes_too_early_keeps_its_turn(self) -> None:
        limit = Limit("k", interval=10.0)
        first = self.admit(*(ask(f"t{number}", limit) for number in range(4)))
        again = self.admit(*(ask(f"t{number}", limit) for number in (3, 2, 1)))
        assert again == pytest.approx(list(reversed(first[1:])), abs=0.1)

    def test_a_rate_is_never_exceeded(self) -> None:
        limit = Limit("k", interval=0.05)
        starts: list[float] = []

        def work(number: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while (due := self.store.admit([ask(f"t{number}", limit)], PATIENCE)[0]) > 0:
                assert time.monotonic() < deadline
                time.sleep(max(0.0, due - time.time()))
            starts.append(time.monotonic())

        began = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(20)))
        assert max(starts) - began > 19 * 0.05 - 0.01

    def test_a_start_that_came_late_is_made_up_for_within_the_tolerance(self) -> None:
        limit = Limit("k", interval=HOUR, tolerance=HOUR)
        assert self.may("a", limit)
        assert self.may("b", limit)
        assert not self.may("c", limit)

    def test_keys_have_rates_of_their_own(self) -> None:
        assert self.may("a", Limit("k", interval=HOUR))
        assert self.may("b", Limit("l", interval=HOUR))
        assert not self.may("c", Limit("k", interval=HOUR))

    def test_nobody_is_sent_away_for_longer_than_a_minute(self) -> None:
        limit = Limit("k", interval=HOUR)
        self.admit(ask("a", limit))
        (due,) = self.admit(ask("b", limit))
        assert due < time.time() + 61.0

    def test_of_two_limits_none_is_used_up_while_the_other_refuses(self) -> None:
        rate, slots = Limit("r", interval=HOUR), Limit("s", slots=1)
        assert self.may("a", slots)
        assert not self.may("b", rate, slots)
        assert self.may("c", rate)
        assert not self.may("d", slots, rate)
        self.store.leave([Slot("s", "a", "one")], PATIENCE)
        assert not self.may("b", rate, slots)

    # ── paused queues ────────────────────────────────────────────────────────────────────────────────────

    def test_a_queue_is_paused_until_it_is_resumed(self) -> None:
        assert self.store.paused(PATIENCE) == frozenset()
        assert self.store.pause("mail", PATIENCE)
        assert not self.store.pause("mail", PATIENCE)
        self.store.pause("почта", PATIENCE)
        assert self.open().paused(PATIENCE) == {"mail", "почта"}
        assert self.store.resume("mail", PATIENCE)
        assert not self.store.resume("mail", PATIENCE)
        assert self.store.paused(PATIENCE) == {"почта"}

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    def test_what_is_in_force_does_not_expire(self) -> None:
        self.hold("k", "a")
        self.may("a", Limit("s", slots=1))
        self.may("a", Limit("r", interval=HOUR))
        self.store.pause("mail", PATIENCE)
        self.store.expire(PATIENCE)
        assert self.hold("k", "b") == "a"
        assert not self.may("b", Limit("s", slots=1))
        assert not self.may("b", Limit("r", interval=HOUR))
        assert self.store.paused(PATIENCE) == {"mail"}

    def test_another_store_of_the_same_place_sees_the_same(self) -> None:
        other = self.open()
        self.hold("k", "a")
        assert other.hold([Claim("k", "b", HOUR)], PATIENCE) == ["a"]

    def test_a_closed_store_says_so(self) -> None:
        store = self.open()
        store.close()
        store.close()
        with pytest.raises(BrokerError, match="closed"):
            store.paused(PATIENCE)
