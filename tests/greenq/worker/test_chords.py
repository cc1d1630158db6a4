"""What follows a task's end: callbacks, chains, chords and errbacks, in a worker of this process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import pools
from greenq import ChordError, GreenQ, Ignore, TaskRevoked, Worker
from greenq.canvas import chain, chord, group
from greenq.canvas.sending import compose_signature
from greenq.errors import ResultStoreError, TimeLimitExceeded, UnknownTask
from greenq.failures import describe
from greenq.message import FAILURE, PENDING, Delivery, Outcome, Result
from greenq.worker.runner import Runner
from tests.waiting import until

PATIENCE = 60.0
_numbers = itertools.count()


class Place:
    """An application, its worker, and what its tasks have noted."""

    def __init__(self, **settings: Any) -> None:
        url = f"memory://chords-{next(_numbers)}"
        app = self.app = GreenQ("place", broker=url, **{"results": url} | settings)
        notes: list[Any] = []
        self.notes = notes
        go = self.go = threading.Event()

        @app.task(name="add")
        def add(x: Any, y: Any) -> Any:
            return x + y

        @app.task(name="total")
        def total(values: Any) -> Any:
            return sum(values)

        @app.task(name="fail")
        def fail(*args: Any) -> None:
            raise ValueError("no")

        @app.task(name="note")
        def note(value: Any) -> Any:
            notes.append(value)
            return value

        @app.task(name="told")
        def told(request: Any, error: Any, trace: Any) -> None:
            notes.append((request.id, repr(error), trace))

        @app.task(name="bound", bind=True)
        def bound(self: Any, id: str) -> None:
            notes.append(("bound", id, self.request.parent_id))

        @app.task(name="broken")
        def broken(request: Any, error: Any, trace: Any) -> None:
            raise RuntimeError("an errback that fails")

        @app.task(name="ignored")
        def ignored() -> None:
            raise Ignore

        @app.task(name="strange")
        def strange() -> Any:
            return object()

        @app.task(name="late", bind=True, max_retries=3)
        def late(self: Any, value: Any) -> Any:
            if self.request.retries < 2:
                raise self.retry(countdown=0)
            return value

        @app.task(name="wait")
        def wait() -> None:
            assert go.wait(PATIENCE)

    def __enter__(self) -> Place:
        self.pool = pools.create("threads", capacity=4)
        self.worker = Worker(self.app, pool=self.pool)
        self.worker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.go.set()
        self.worker.stop(5)
        self.pool.close(1)
        self.app.close()

    def sig(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.signature(name, args, options=options)

    def record(self, id: str) -> Any:
        assert self.app.results is not None
        return self.app.results.get([id], PATIENCE)[id]


@pytest.fixture
def place() -> Iterator[Place]:
    with Place() as made:
        yield made


def get(result: Any) -> Any:
    return result.get(timeout=PATIENCE)


def error_of(result: Any) -> Any:
    return result.get(timeout=PATIENCE, propagate=False)


class TestSuccess:
    def test_each_of_several_callbacks_gets_the_value(self, place: Place) -> None:
        first = place.sig("add", 1, 2)
        for _ in range(2):
            first.link(place.sig("note", task_id=f"c{_}"))
        first.link(place.sig("note", "fixed").set(immutable=True))
        get(first.apply_async())
        until(lambda: len(place.notes) == 3, "the callbacks")
        assert sorted(map(str, place.notes)) == ["3", "3", "fixed"]

    def test_a_group_and_a_chain_and_a_chord_can_be_callbacks(self, place: Place) -> None:
        first = place.sig("add", 1, 2)
        first.link(group(place.sig("note"), place.sig("note"), app=place.app))
        first.link(chain(place.sig("add", 1), place.sig("note"), app=place.app))
        first.link(
            chord([place.sig("add", n) for n in (10, 20)], chain(place.sig("total"), place.sig("note")))
        )
        get(first.apply_async())
        until(lambda: len(place.notes) == 4, "the callbacks")
        assert sorted(place.notes) == [3, 3, 4, 36]

    def test_what_was_sent_is_in_the_result_as_children(self, place: Place) -> None:
        first = place.sig("add", 1, 2)
        first.link(place.sig("note", task_id="callback"))
        result = chain(first, place.sig("add", 1, task_id="next"), app=place.app).apply_async()
        get(result)
        children = place.record(result.parent.id).children
        assert [child[0][0] for child in children] == ["callback", "next"]

    def test_ids_that_are_not_fixed_are_derived_from_the_parent(self, place: Place) -> None:
        for _ in range(2):  # the second run is that of a redelivered message
            first = place.sig("add", 1, 2, task_id="parent")
            first.link(place.sig("note"))
            first.apply_async()
            until(lambda: bool(place.notes), "the callback")
            place.notes.clear()
            [child] = place.record("parent").children
            place.app.results.forget(["parent"])  # type: ignore[union-attr]
            if _ == 0:
                before = child[0][0]
        assert child[0][0] == before
        assert before[14] == "5"

    def test_root_and_parent_travel_along_a_chain(self, place: Place) -> None:
        result = chain(place.sig("add", 1, 1), place.sig("add", 1), place.sig("add", 1)).apply_async()
        get(result)
        assert place.record(result.id).extra["parent_id"] == result.parent.id
        assert place.record(result.parent.id).extra["parent_id"] == result.parent.parent.id

    def test_a_retried_link_goes_on_with_the_chain(self, place: Place) -> None:
        assert get(chain(place.sig("add", 1, 1), place.sig("late"), place.sig("add", 5)).apply_async()) == 7

    def test_a_task_that_is_ignored_ends_its_chain_in_silence(self, place: Place) -> None:
        result = chain(place.sig("ignored"), place.sig("note").set(immutable=True)).apply_async()
        assert get(place.sig("add", 1, 1).apply_async()) == 2
        assert result.state == PENDING
        assert place.notes == []


class TestFailure:
    def test_all_that_was_to_follow_fails_with_the_same_exception(self, place: Place) -> None:
        result = chain(place.sig("fail"), place.sig("add", 1), place.sig("add", 2)).apply_async()
        for one in (result, result.parent, result.parent.parent):
            error = error_of(one)
            assert (type(error), str(error)) == (ValueError, "no")
        assert "raise ValueError" in place.record(result.id).traceback

    def test_errbacks_are_called_in_the_form_that_they_take(self, place: Place) -> None:
        failing = place.sig("fail", task_id="f")
        for name in ("told", "note", "bound", "broken"):
            failing.link_error(place.sig(name))
        error_of(failing.apply_async())
        until(lambda: len(place.notes) == 3, "the errbacks")
        [told] = [note for note in place.notes if note[0] == "f" and len(note) == 3]
        assert told[1] == "ValueError('no')"
        assert "raise ValueError" in told[2]
        assert "f" in place.notes
        assert ("bound", "f", "f") in place.notes

    def test_an_errback_that_cannot_be_sent_does_not_keep_the_others_back(self, place: Place) -> None:
        failing = place.sig("fail", task_id="f")
        failing.link_error(place.sig("note", 1, 2, 3))
        failing.link_error(place.sig("note"))
        error_of(failing.apply_async())
        until(lambda: place.notes == ["f"], "the errback")

    def test_a_value_that_cannot_be_stored_fails_chain_and_chord(self, place: Place) -> None:
        assert error_of(chain(place.sig("strange"), place.sig("note")).apply_async()) is not None
        error = error_of(
            chord([place.sig("strange"), place.sig("add", 1, 1)], place.sig("total")).apply_async()
        )
        assert isinstance(error, ChordError)
        assert place.notes == []

    def test_an_unknown_task_fails_its_chain_and_calls_its_errbacks(self, place: Place) -> None:
        unknown = place.sig("nobody.knows.it", task_id="u")
        unknown.link_error(place.sig("note"))
        error = error_of(chain(unknown, place.sig("add", 1)).apply_async())
        assert isinstance(error, UnknownTask)
        until(lambda: place.notes == ["u"], "the errback")

    def test_what_follows_a_time_limit_is_sent_by_whoever_finds_its_end_recorded(self) -> None:
        place = Place()
        failing = place.sig("fail", task_id="f")
        failing.link_error(place.sig("note"))
        [message] = compose_signature(place.app, failing).messages
        outcome = Outcome(Delivery(message, "celery", None))
        endings = Runner(place.app, "node", lambda fn: fn).endings
        endings.follow_recorded(outcome, Result("f", FAILURE, describe(ValueError("no"))))
        assert outcome.publishes == ()
        endings.follow_recorded(outcome, Result("f", FAILURE, describe(TimeLimitExceeded(3))))
        assert [sent.headers["task"] for sent in outcome.publishes] == ["note"]
        place.app.close()


class TestChords:
    def test_values_are_joined_in_the_order_of_the_members(self, place: Place) -> None:
        members = [place.sig("add", n, n) for n in range(50)]
        get(chord(members, place.sig("note")).apply_async())
        assert place.notes == [[2 * n for n in range(50)]]

    def test_members_that_are_retried_count_once(self, place: Place) -> None:
        get(chord([place.sig("late", n) for n in range(5)], place.sig("note")).apply_async())
        assert place.notes == [[0, 1, 2, 3, 4]]

    def test_chains_chords_and_groups_may_be_members(self, place: Place) -> None:
        members = [
            chain(place.sig("add", 1, 1), place.sig("add", 1)),
            chord([place.sig("add", 2, 2), place.sig("add", 3, 3)], place.sig("total")),
            place.sig("add", 5, 5),
        ]
        get(chord(members, place.sig("note")).apply_async())
        assert place.notes == [[3, 10, 10]]

    def test_a_member_that_ends_in_a_group_gives_a_list(self, place: Place) -> None:
        inner = chain(place.sig("add", 1, 1), group(place.sig("add", 1), place.sig("add", 2)))
        get(chord([inner, place.sig("add", 5, 5)], place.sig("note")).apply_async())
        assert place.notes == [[[3, 4], 10]]

    def test_an_empty_chord_calls_its_body_at_once(self, place: Place) -> None:
        assert get(chord([], place.sig("total")).apply_async()) == 0

    def test_a_failing_member_fails_the_body_and_calls_its_errbacks(self, place: Place) -> None:
        body = place.sig("total", task_id="body")
        body.link_error(place.sig("told"))
        body.link_error(place.sig("note"))
        result = chord([place.sig("add", 1, 1), place.sig("fail", task_id="m")], body).apply_async()
        error = error_of(result)
        assert isinstance(error, ChordError)
        assert str(error) == "Dependency m raised ValueError('no')"
        until(lambda: len(place.notes) == 2, "the errbacks")
        [told] = [note for note in place.notes if len(note) == 3]
        assert told[:2] == (result.id, repr(error))
        # Of the member that failed, too: the chord has nothing else to show.
        assert told[2] == place.record(result.id).traceback
        assert "ValueError: no" in told[2]
        assert told[2].endswith(f"ChordError: {error}\n")
        assert result.id in place.notes

    def test_a_member_that_comes_too_late_fails_the_body(self, place: Place) -> None:
        past = datetime.now(UTC) - timedelta(hours=1)
        error = error_of(chord([place.sig("add", 1, 1, expires=past)], place.sig("total")).apply_async())
        assert isinstance(error, ChordError)
        assert TaskRevoked.__name__ in str(error)

    def test_a_member_of_an_unknown_name_fails_the_body(self, place: Place) -> None:
        error = error_of(chord([place.sig("nobody.knows.it")], place.sig("total")).apply_async())
        assert "UnknownTask" in str(error)

    def test_a_chain_that_fails_early_fails_the_chord_it_is_a_member_of(self, place: Place) -> None:
        members = [chain(place.sig("fail"), place.sig("add", 1)), place.sig("add", 1, 1)]
        assert isinstance(error_of(chord(members, place.sig("total")).apply_async()), ChordError)

    def test_a_failing_chord_fails_the_chord_around_it(self, place: Place) -> None:
        inner = chord([place.sig("fail"), place.sig("add", 1, 1)], place.sig("total"))
        error = error_of(chord([inner, place.sig("add", 1, 1)], place.sig("total")).apply_async())
        assert isinstance(error, ChordError)

    def test_what_follows_a_failing_chord_fails_too(self, place: Place) -> None:
        header = group(place.sig("fail"), place.sig("add", 1, 1))
        result = chain(header, place.sig("total"), place.sig("add", 1), place.sig("add", 2)).apply_async()
        assert isinstance(error_of(result), ChordError)

    def test_every_task_of_a_body_that_is_a_group_fails(self, place: Place) -> None:
        body = group(place.sig("total"), place.sig("note"))
        result = chord([place.sig("fail")], body).apply_async()
        assert [type(error_of(one)) for one in result.results] == [ValueError, ValueError]
        assert place.notes == []

    def test_a_body_that_can_never_be_sent_fails(self, place: Place) -> None:
        result = chord([place.sig("add", 1, 1)], place.sig("note", 1, 2, 3)).apply_async()
        error = error_of(result)
        assert isinstance(error, ChordError)
        assert str(error).startswith("Callback error: InvalidTaskArguments")

    def test_a_body_that_its_worker_left_unsent_is_sent_by_another(self) -> None:
        with Place() as place:
            store = place.app.results
            assert store is not None
            store.claim = 0.2
            # As if the process had died between counting and sending.
            place.worker._settler.on_due = lambda chord: None
            get(chord([place.sig("add", 1, 1)], place.sig("note")).apply_async())
            assert place.notes == [[2]]

    def test_a_store_that_cannot_count_is_refused_where_the_chord_is_sent(self) -> None:
        place = Place(results={"url": None})
        with pytest.raises(ResultStoreError, match=r"results\.url"):
            chord([place.sig("add", 1, 1)], place.sig("total")).apply_async()
        place.app.close()

    def test_nothing_is_left_of_a_chord_that_is_done(self, place: Place) -> None:
        result = chord([place.sig("add", 1, 1)], place.sig("total")).apply_async()
        get(result)
        store = place.app.results
        assert store is not None
        until(lambda: not [p for piece in store.joined(result.parent.id, 1.0) for p in piece], "the end")
        assert place.record(result.id).state != FAILURE
