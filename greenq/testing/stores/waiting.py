"""Waiting for results: in threads, in green threads, across processes."""

from __future__ import annotations

import time

from greenq.message import FAILURE, RETRY, STARTED, SUCCESS
from greenq.testing.messages import PATIENCE
from greenq.testing.payloads import encoded
from greenq.testing.stores.base import StoreSuite

__all__ = ["Elsewhere", "Waiting"]


class Waiting(StoreSuite):
    """A wait ends when a task has, and costs nothing until then."""

    def test_what_has_ended_already_is_returned_at_once(self) -> None:
        self.put("a", FAILURE)
        self.put("b", STARTED)
        self.put("c")
        found = self.store.wait(["a", "b", "c", "absent"], PATIENCE)
        assert {id: result.state for id, result in found.items()} == {"a": FAILURE, "c": SUCCESS}

    def test_waiting_for_nothing_returns_at_once(self) -> None:
        assert self.store.wait([], PATIENCE) == {}

    def test_a_wait_ends_after_its_timeout_with_nothing(self) -> None:
        started = time.monotonic()
        assert self.store.wait(["never"], 0.3) == {}
        assert 0.25 < time.monotonic() - started < PATIENCE

    def test_a_waiter_is_woken_by_the_end_and_by_nothing_less(self) -> None:
        value = self.beside(lambda: self.store.wait(["task", "task", "other"], PATIENCE))
        time.sleep(0.2)
        self.put("task", STARTED)
        self.put("task", RETRY)
        self.put("stranger")
        time.sleep(0.2)
        self.put("task", value="end")
        found = value()
        assert {id: result.value for id, result in found.items()} == {"task": "end"}

    def test_another_store_of_the_place_wakes_a_waiter(self) -> None:
        value = self.beside(lambda: self.store.wait(["task"], PATIENCE))
        time.sleep(0.2)
        other = self.open()
        other.put([encoded(other, "task")], PATIENCE)
        assert set(value()) == {"task"}

    def test_several_waiters_of_one_task_are_all_woken(self) -> None:
        values = [self.beside(lambda: self.store.wait(["task"], PATIENCE)) for _ in range(10)]
        time.sleep(0.2)
        self.put("task")
        assert [set(value()) for value in values] == [{"task"}] * 10

    def test_a_thousand_tasks_are_awaited_one_after_the_other(self) -> None:
        count = min(1000, self.crowd)
        names = {f"t{number}" for number in range(count)}

        def collect() -> int:
            left = set(names)
            while left:
                found = self.store.wait(left, PATIENCE)
                assert found, "a result did not come"
                left -= set(found)
            return len(names)

        value = self.beside(collect)
        ordered = sorted(names)
        for start in range(0, count, 50):
            self.store.put([encoded(self.store, id) for id in ordered[start : start + 50]], PATIENCE)
        assert value() == count

    def test_a_thousand_green_threads_wait_at_once(self) -> None:
        with self.actor("hub_crowd", "gevent", min(1000, self.crowd)) as actor:
            assert actor.says() is True

    def check_hub(self, *how: str) -> None:
        """Expect other green threads to run while one waits for a second."""
        with self.actor("hub_wait", *how) as actor:
            ticks, found = actor.says()
        assert found == [[[], ["there"]]]
        assert ticks > 20

    def test_a_wait_does_not_stop_a_gevent_hub(self) -> None:
        self.check_hub("gevent")

    def test_a_wait_does_not_stop_a_gevent_hub_in_a_patched_process(self) -> None:
        self.check_hub("gevent", "patched")

    def test_a_wait_does_not_stop_an_eventlet_hub(self) -> None:
        self.check_hub("eventlet")

    def test_a_wait_does_not_stop_an_eventlet_hub_in_a_patched_process(self) -> None:
        self.check_hub("eventlet", "patched")


class Elsewhere(StoreSuite):
    """For stores that several processes can use."""

    def test_another_process_wakes_a_waiter(self) -> None:
        with self.actor("put", "task", "SUCCESS", "from afar") as actor:
            actor.says()
            value = self.beside(lambda: self.store.wait(["task"], PATIENCE))
            time.sleep(0.3)
            actor.go()
            found = value()
        assert found["task"].value == "from afar"

    def test_another_process_does_not_overwrite_a_final_state(self) -> None:
        self.put("task", FAILURE, "first")
        with self.actor("put", "task", "SUCCESS", "second") as actor:
            actor.says()
            actor.go()
            assert actor.says() == "stored"
        found = self.get("task")
        assert found is not None
        assert (found.state, found.value) == (FAILURE, "first")
