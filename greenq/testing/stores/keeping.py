"""Storing, reading, forgetting and expiry."""

from __future__ import annotations

from collections.abc import Callable

from greenq.errors import ResultStoreError
from greenq.message import FAILURE, READY_STATES, RETRY, STARTED, SUCCESS, Result
from greenq.testing.messages import PATIENCE, refuses, until
from greenq.testing.payloads import encoded
from greenq.testing.stores.base import StoreSuite

__all__ = ["Keeping"]


class Keeping(StoreSuite):
    """What is stored is kept as it was, until it is forgotten."""

    def test_a_result_comes_back_as_it_was_stored(self) -> None:
        result = Result(
            "whole",
            FAILURE,
            {"exc_type": "ValueError", "exc_message": ["ü"], "exc_module": "builtins"},
            traceback="Traceback …",
            children=[[["child", None], None]],
            date_done="2026-01-02T03:04:05+00:00",
            extra={"name": "tests.add", "worker": "w@h", "retries": 2},
        )
        self.store.encode(result)
        assert result.value is None
        self.store.put([result], PATIENCE)
        found = self.get("whole")
        assert found is not None
        assert (found.state, found.traceback, found.children) == (FAILURE, "Traceback …", result.children)
        assert found.value == {"exc_type": "ValueError", "exc_message": ["ü"], "exc_module": "builtins"}
        assert (found.date_done, found.extra) == (result.date_done, result.extra)

    def test_what_was_never_stored_is_absent(self) -> None:
        self.put("there")
        assert set(self.store.get(["there", "not there"], PATIENCE)) == {"there"}
        assert self.store.get([], PATIENCE) == {}

    def test_nothing_to_store_is_no_error(self) -> None:
        self.store.put([], PATIENCE)

    def test_thousands_are_stored_and_read_in_one_go(self) -> None:
        names = [f"n{number}" for number in range(self.crowd)]
        self.store.put([encoded(self.store, id, value=id) for id in names], PATIENCE)
        found = self.store.get(iter(names), PATIENCE)
        assert {id: result.value for id, result in found.items()} == {id: id for id in names}

    def test_a_payload_of_ten_mebibytes_comes_back_whole(self) -> None:
        self.put("big", value="x" * (10 * 1024 * 1024))
        found = self.get("big")
        assert found is not None
        assert len(found.value) == 10 * 1024 * 1024

    def test_any_id_works(self) -> None:
        names = ["队列", "🚚", "'; DROP TABLE results; --", 'a"b', "a\\b", "a\nb", ",", "[1]", " ", "%s"]
        self.store.put([encoded(self.store, id, value=id) for id in names], PATIENCE)
        assert {id: found.value for id, found in self.store.get(names, PATIENCE).items()} == {
            n: n for n in names
        }
        assert set(self.store.wait(names, PATIENCE)) == set(names)

    def test_another_store_of_the_place_sees_it(self) -> None:
        self.put("shared", value=1)
        assert set(self.open().get(["shared"], PATIENCE)) == {"shared"}

    # ── states ───────────────────────────────────────────────────────────────────────────────────────────

    def test_a_later_state_replaces_one_that_is_not_final(self) -> None:
        for state in (STARTED, RETRY, "PROGRESS", SUCCESS):
            self.put("task", state, state)
            found = self.get("task")
            assert found is not None
            assert (found.state, found.value) == (state, state)

    def test_a_final_state_is_never_overwritten(self) -> None:
        for first in sorted(READY_STATES):
            for second in (*sorted(READY_STATES), STARTED, RETRY, "PROGRESS"):
                self.put(f"{first}-{second}", first, 1)
                self.put(f"{first}-{second}", second, 2)
                found = self.get(f"{first}-{second}")
                assert found is not None
                assert (found.state, found.value) == (first, 1)

    def test_the_same_holds_within_one_batch(self) -> None:
        batch = [
            ("a", STARTED),
            ("a", SUCCESS),
            ("b", SUCCESS),
            ("b", STARTED),
            ("c", FAILURE),
            ("c", SUCCESS),
        ]
        self.store.put([encoded(self.store, id, state) for id, state in batch], PATIENCE)
        found = self.store.get("abc", PATIENCE)
        assert {id: result.state for id, result in found.items()} == {
            "a": SUCCESS,
            "b": SUCCESS,
            "c": FAILURE,
        }

    # ── the end of a result ──────────────────────────────────────────────────────────────────────────────

    def test_an_expired_result_is_absent_and_then_dropped(self) -> None:
        self.put("brief", expires=0.2)
        self.put("long", expires=3600)
        self.put("for ever")
        until(lambda: self.get("brief") is None, "the expiry")
        assert self.store.expire() in (0, 1)  # 0 where the server has dropped it already
        assert self.store.expire() == 0
        assert set(self.store.get(["brief", "long", "for ever"], PATIENCE)) == {"long", "for ever"}

    def test_an_expired_result_does_not_keep_a_new_one_out(self) -> None:
        self.put("again", value="old", expires=0.05)
        until(lambda: self.get("again") is None, "the expiry")
        self.put("again", value="new")
        found = self.get("again")
        assert found is not None
        assert found.value == "new"

    def test_a_forgotten_result_is_absent_and_may_be_stored_anew(self) -> None:
        self.put("a", value=1)
        self.put("b")
        self.store.forget(["a", "never there"])
        assert set(self.store.get("ab", PATIENCE)) == {"b"}
        self.put("a", value=2)
        found = self.get("a")
        assert found is not None
        assert found.value == 2
        self.store.forget([])

    # ── the end of a store ───────────────────────────────────────────────────────────────────────────────

    def test_closing_twice_is_harmless(self) -> None:
        self.store.close()
        self.store.close()

    def test_a_closed_store_says_so(self) -> None:
        result = encoded(self.store, "x")
        with self.open() as store:
            store.put([result], PATIENCE)
        self.refused(lambda: store.put([result], 1.0))
        self.refused(lambda: store.get(["x"], 1.0))
        self.refused(lambda: store.wait(["x"], 1.0))
        self.refused(lambda: store.forget(["x"]))
        assert self.get("x") is not None, "the others of the place stay open"

    def refused(self, call: Callable[[], object]) -> None:
        """Expect an error that says that the store is closed."""
        refuses(ResultStoreError, call, "closed")
