"""Counting the members of chords, and who sends the body."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from greenq.chords import ChordOpening, ChordPart, DueChord
from greenq.errors import ResultStoreError
from greenq.testing.messages import PATIENCE, until
from greenq.testing.stores.base import StoreSuite

__all__ = ["Counting", "Refusing"]

BODY = {"task": "sum", "args": [], "kwargs": {}, "options": {"task_id": "the body"}}
SENDER = {"parent_id": "m", "root_id": "r", "priority": 3}


class Counting(StoreSuite):
    """For stores that count the members of chords."""

    def part(self, group: str, number: int, value: Any = None, **fields: Any) -> ChordPart:
        """Make the end of one member that is ready to be counted."""
        given: dict[str, Any] = {"index": number, "state": "SUCCESS", "body": BODY, "sender": SENDER}
        part = ChordPart(group, f"m{number}", value=number if value is None else value, **given | fields)
        self.store.encode_part(part)
        return part

    def count(self, *parts: ChordPart) -> list[DueChord]:
        """Count members; the chords that they complete."""
        self.store.count(parts, PATIENCE)
        return [part.due for part in parts if part.due is not None]

    def begin(self, group: str, size: int, **fields: Any) -> None:
        """Open a chord."""
        self.store.open_chords([ChordOpening(group, size, **fields)], PATIENCE)

    def joined(self, group: str) -> list[Any]:
        """What the members of a chord returned."""
        pieces: Iterable[Any] = self.store.joined(group, PATIENCE)
        return [self.store.decode_part(payload)[2] for piece in pieces for payload in piece]

    def test_the_last_member_is_told_so_and_no_other(self) -> None:
        self.begin("g", 3)
        assert self.count(self.part("g", 2)) == []
        assert self.count(self.part("g", 0)) == []
        [due] = self.count(self.part("g", 1))
        assert (due.group, due.body, due.sender) == ("g", BODY, SENDER)
        assert self.joined("g") == [0, 1, 2]
        assert self.store.close_chord(due, PATIENCE)
        assert self.joined("g") == []

    def test_members_that_are_counted_together_complete_it_once(self) -> None:
        self.begin("g", 100)
        [due] = self.count(*(self.part("g", number) for number in reversed(range(100))))
        assert self.joined("g") == list(range(100))
        assert self.store.close_chord(due, PATIENCE)

    def test_members_that_are_counted_at_the_same_time_complete_it_once(self) -> None:
        self.begin("g", 40)
        parts = [self.part("g", number) for number in range(40)]
        with ThreadPoolExecutor(8) as pool:
            found = [due for dues in pool.map(self.count, parts) for due in dues]
        assert len(found) == 1
        assert self.joined("g") == list(range(40))

    def test_a_member_is_counted_once_whatever_it_returns_the_second_time(self) -> None:
        self.begin("g", 2)
        assert self.count(self.part("g", 0, "first")) == []
        assert self.count(self.part("g", 0, "second")) == []
        assert len(self.count(self.part("g", 1, "other"))) == 1
        assert self.joined("g") == ["first", "other"]

    def test_a_member_may_end_before_the_size_is_known(self) -> None:
        assert self.count(self.part("g", 0)) == []
        self.begin("g", 2)
        assert len(self.count(self.part("g", 1))) == 1

    def test_members_without_a_place_come_last(self) -> None:
        self.begin("g", 3)
        self.count(self.part("g", 5, "x", index=None), self.part("g", 1), self.part("g", 0))
        assert self.joined("g") == [0, 1, "x"]

    def test_equal_values_are_all_kept(self) -> None:
        self.begin("g", 3)
        self.count(*(self.part("g", number, "same") for number in range(3)))
        assert self.joined("g") == ["same"] * 3

    def test_members_that_are_added_are_waited_for_and_counted_once(self) -> None:
        self.begin("g", 1)
        for _ in range(2):
            self.store.grow_chord("g", ["m1", "m2"], 60.0, PATIENCE)
        assert self.count(self.part("g", 0), self.part("g", 1)) == []
        assert len(self.count(self.part("g", 2))) == 1

    def test_while_one_sends_the_body_nobody_else_is_asked_to(self) -> None:
        self.begin("g", 1)
        [due] = self.count(self.part("g", 0))
        assert self.count(self.part("g", 0)) == []
        assert self.store.overdue_chords(PATIENCE) == []
        assert self.store.extend_claim(due, PATIENCE)

    def test_what_comes_late_does_not_complete_a_closed_chord_again(self) -> None:
        self.begin("g", 1)
        [due] = self.count(self.part("g", 0))
        assert self.store.close_chord(due, PATIENCE)
        assert self.count(self.part("g", 0)) == []
        assert self.store.overdue_chords(PATIENCE) == []
        assert self.joined("g") == []

    def test_a_chord_that_is_sent_twice_after_a_death_is_not_done_twice(self) -> None:
        self.begin("g", 1)
        [due] = self.count(self.part("g", 0))
        self.store.close_chord(due, PATIENCE)
        self.begin("g", 1, anew=False)
        assert self.count(self.part("g", 0)) == []

    def test_a_chord_that_is_begun_anew_is_counted_anew(self) -> None:
        self.begin("g", 1)
        [due] = self.count(self.part("g", 0))
        self.store.close_chord(due, PATIENCE)
        self.begin("g", 1)
        assert len(self.count(self.part("g", 0))) == 1

    def test_a_body_that_nobody_sent_is_found_by_another_store(self) -> None:
        self.store.claim = 0.1
        self.begin("g", 1)
        [first] = self.count(self.part("g", 0, expires=50.0))
        other = self.open()
        found: list[DueChord] = []

        def claimed() -> bool:
            found.extend(other.overdue_chords(PATIENCE))
            return bool(found)

        until(claimed, "the claim's end")
        assert [(due.group, due.body, due.sender, due.expires) for due in found] == [
            ("g", BODY, SENDER, 50.0)
        ]
        assert not self.store.extend_claim(first, PATIENCE)
        assert not self.store.close_chord(first, PATIENCE)
        assert self.joined("g") == [0]
        assert other.close_chord(found[0], PATIENCE)
        assert other.overdue_chords(PATIENCE) == []

    def test_a_body_that_no_serializer_carries_is_known_to_whoever_completes_the_chord(self) -> None:
        self.begin("g", 1)
        strange = BODY | {"args": [object()]}
        [due] = self.count(self.part("g", 0, body=strange))
        assert due.body is strange

    def test_ten_thousand_members_are_joined_in_pieces(self) -> None:
        count = max(1000, self.crowd)
        self.begin("g", count)
        assert len(self.count(*(self.part("g", number) for number in range(count)))) == 1
        pieces = list(self.store.joined("g", PATIENCE))
        assert len(pieces) > 1
        assert [json.loads(payload)[3] for piece in pieces for payload in piece] == list(range(count))

    def test_any_id_works_for_groups_and_members(self) -> None:
        for group in ("队列", "'; DROP TABLE chords; --", 'a"b', "a\nb", "{x}", "%s", "g.j", "g.c"):
            self.begin(group, 2)
            assert self.count(self.part(group, 0)) == []
            assert len(self.count(self.part(group, 1))) == 1
            assert self.joined(group) == [0, 1]

    def test_chords_do_not_mix(self) -> None:
        self.begin("one", 2)
        self.begin("two", 1)
        assert [due.group for due in self.count(self.part("one", 0), self.part("two", 0))] == ["two"]
        assert self.joined("one") == [0]

    def test_counts_past_their_time_are_dropped(self) -> None:
        self.begin("g", 2, expires=0.1)
        self.count(self.part("g", 0, expires=0.1))

        def dropped() -> bool:
            self.store.expire()
            return self.joined("g") == []

        until(dropped, "the end of the count")


class Refusing(StoreSuite):
    """For stores that can't count the members of chords."""

    def test_chords_are_refused_with_the_reason_and_what_to_do(self) -> None:
        reason = self.store.refuses_chords
        assert reason is not None
        assert "results.url" in reason
        part = ChordPart("g", "m", 0, "SUCCESS", 1, BODY)
        self.store.encode_part(part)
        with pytest.raises(ResultStoreError, match=r"results\.url"):
            self.store.open_chords([ChordOpening("g", 1)], PATIENCE)
        with pytest.raises(ResultStoreError, match=r"results\.url"):
            self.store.grow_chord("g", ["m"], None, PATIENCE)
        with pytest.raises(ResultStoreError, match=r"results\.url"):
            self.store.count([part], PATIENCE)
        assert self.store.overdue_chords(PATIENCE) == []
