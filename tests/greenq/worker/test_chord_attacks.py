"""Workflows under attack: delivered twice, failing stores, sizes from none to many, hostile third parts."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import pools
from greenq import GreenQ, Worker
from greenq.canvas import chain, chord, group
from greenq.canvas.sending import compose_signature
from greenq.errors import ResultStoreError
from greenq.message import READY_STATES, Message
from greenq.results.base import ResultStore
from tests.servers import shared_redis
from tests.waiting import until

PATIENCE = 120.0
MANY = 500
_numbers = itertools.count()


class Place:
    """An application, its worker, and how often its tasks ran."""

    def __init__(self, url: str) -> None:
        app = self.app = GreenQ("attacked", broker=url, results=url)
        runs = self.runs = Counter[Any]()
        lock = threading.Lock()

        def note(what: Any) -> None:
            with lock:
                runs[what] += 1

        @app.task(name="same")
        def same(value: Any) -> Any:
            note(("same", str(value)))
            return value

        @app.task(name="fail")
        def fail(value: Any) -> None:
            raise ValueError(value)

        @app.task(name="total", bind=True)
        def total(self: Any, values: list[int]) -> int:
            note(("total", self.request.id))
            return sum(values)

        @app.task(name="listed")
        def listed(values: Any) -> Any:
            note("listed")
            return values

        self.pool = pools.create("threads", capacity=8)
        self.worker = Worker(app, pool=self.pool)
        self.worker.start()

    @property
    def store(self) -> ResultStore:
        assert self.app.results is not None
        return self.app.results

    def sig(self, name: str, *args: Any, **options: Any) -> Any:
        return self.app.signature(name, args, options=options)

    def empty(self) -> bool:
        depth = self.app.broker.depth().get("celery")
        return depth is None or not (depth.ready + depth.delayed + depth.leased)

    def close(self) -> None:
        self.worker.stop(5)
        self.pool.close(1)
        self.app.close()


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(
        f"memory://attacked-{next(_numbers)}" if request.param == "memory" else shared_redis().empty()
    )
    yield made
    made.close()


def get(result: Any) -> Any:
    return result.get(timeout=PATIENCE)


# ── delivered twice ──────────────────────────────────────────────────────────────────────────────────────


def test_members_that_are_all_delivered_twice_count_once(place: Place) -> None:
    body = place.sig("total", task_id="the-body")
    flow = chord([place.sig("same", n, task_id=f"m{n}") for n in range(10)], body)
    made = compose_signature(place.app, flow)
    place.store.open_chords(made.openings, PATIENCE)
    for message in made.messages:
        assert place.app.broker.publish([message, message], PATIENCE) == [None, None]
    assert get(place.app.AsyncResult("the-body")) == 45
    until(place.empty, "the end of the copies", PATIENCE)
    assert place.runs["total", "the-body"] == 1


def test_members_that_come_again_after_the_body_ran_change_nothing(place: Place) -> None:
    body = place.sig("total", task_id="the-body")
    flow = chord([place.sig("same", n, task_id=f"m{n}") for n in range(5)], body)
    made = compose_signature(place.app, flow)
    place.store.open_chords(made.openings, PATIENCE)
    place.app.broker.publish(made.messages, PATIENCE)
    assert get(place.app.AsyncResult("the-body")) == 10
    place.app.broker.publish(made.messages, PATIENCE)
    until(place.empty, "the end of the copies", PATIENCE)
    assert place.runs["total", "the-body"] == 1


# ── stores that fail ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["joined", "restore_group", "extend_claim", "close_chord"])
def test_a_body_is_sent_once_its_store_is_there_again(
    place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, failures = getattr(place.store, method), itertools.count()

    def away(*args: Any) -> Any:
        if next(failures) < 3:
            raise ResultStoreError("it is away")
        return working(*args)

    monkeypatch.setattr(place.store, method, away)
    assert get(chord([place.sig("same", n) for n in range(5)], place.sig("total")).apply_async()) == 10
    until(lambda: next(failures) > 3, "the end of the trouble", PATIENCE)


def test_a_body_that_is_sent_again_as_its_chord_could_not_be_closed_has_the_same_id(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, failures = place.store.close_chord, itertools.count()

    def away(*args: Any) -> Any:
        if next(failures) < 2:
            raise ResultStoreError("it is away")
        return working(*args)

    monkeypatch.setattr(place.store, "close_chord", away)
    result = chord([place.sig("same", 1)], place.sig("total") | place.sig("same")).apply_async()
    assert get(result) == 1
    until(lambda: next(failures) > 3 and place.empty(), "the end of the copies", PATIENCE)
    assert len([key for key in place.runs if key[0] == "total"]) == 1


# ── sizes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_members_are_joined_in_their_order(place: Place) -> None:
    result = chord([place.sig("same", n) for n in range(MANY)], place.sig("listed")).apply_async()
    assert get(result) == list(range(MANY))
    assert place.runs["listed"] == 1


def test_groups_of_nobody_end_at_once(place: Place) -> None:
    assert get(group([]).apply_async()) == []
    assert get(chord([], place.sig("listed")).apply_async()) == []
    assert get(chain(place.sig("same", 5), group([]), place.sig("same")).apply_async()) == 5
    assert get((place.sig("same", 5) | group([]) | place.sig("same")).apply_async()) == []
    assert (
        get(chord([chord([], place.sig("total")), place.sig("same", 3)], place.sig("total")).apply_async())
        == 3
    )


def test_chords_in_chords_five_deep_end_right(place: Place) -> None:
    def nested(depth: int) -> Any:
        if depth == 0:
            return place.sig("same", 1)
        return chord([nested(depth - 1), nested(depth - 1)], place.sig("total"))

    assert get(nested(5).apply_async()) == 32
    until(place.empty, "the end", PATIENCE)
    assert len([key for key in place.runs if key[0] == "total"]) == 31
    assert {count for key, count in place.runs.items() if key[0] == "total"} == {1}


def test_groups_in_groups_five_deep_keep_their_shape(place: Place) -> None:
    def nested(depth: int) -> Any:
        leaf = place.sig("same", depth).set(immutable=True)
        return chain(leaf, group(nested(depth - 1), leaf)) if depth else leaf

    def flat(value: Any) -> int:
        return sum(map(flat, value)) if isinstance(value, list) else 1

    found = get(chord([nested(5), place.sig("same", 9)], place.sig("listed")).apply_async())
    assert found[-1] == 9
    assert flat(found) == 7


def test_every_member_fails_and_the_body_fails_once(place: Place) -> None:
    result = chord([place.sig("fail", n) for n in range(50)], place.sig("total")).apply_async()
    assert type(result.get(timeout=PATIENCE, propagate=False)).__name__ == "ChordError"
    until(place.empty, "the end", PATIENCE)
    assert not [key for key in place.runs if key[0] == "total"]


# ── hostile third parts ──────────────────────────────────────────────────────────────────────────────────

SIGNATURE: dict[str, Any] = {
    "task": "same",
    "args": [],
    "kwargs": {},
    "options": {},
    "subtask_type": None,
    "immutable": False,
}


def deep(levels: int) -> dict[str, Any]:
    """A signature that is linked to one that is linked to one …"""
    made = dict(SIGNATURE)
    for _ in range(levels):
        made = {**SIGNATURE, "options": {"link": [made]}}
    return made


HOSTILE: dict[str, dict[str, Any]] = {
    "a chain of letters": {"chain": "abc"},
    "a chain of numbers": {"chain": [1, 2]},
    "a chain of nothing known": {"chain": [{**SIGNATURE, "task": "no such task"}]},
    "a link without a task": {"chain": [{"args": []}]},
    "a link with a list as task": {"chain": [{**SIGNATURE, "task": ["same"]}]},
    "arguments that are a word": {"chain": [{**SIGNATURE, "args": "ab"}]},
    "arguments that are a number": {"callbacks": [{**SIGNATURE, "args": 5}]},
    "keywords that are a list": {"callbacks": [{**SIGNATURE, "kwargs": ["x"]}]},
    "options that are a list": {"callbacks": [{**SIGNATURE, "options": ["x"]}]},
    "options that make no sense": {
        "callbacks": [{**SIGNATURE, "options": {"countdown": "soon", "queue": 5, "expires": []}}],
    },
    "an id that is a list": {"callbacks": [{**SIGNATURE, "options": {"task_id": ["x"]}}]},
    "an unknown kind": {"callbacks": [{**SIGNATURE, "subtask_type": "nothing"}]},
    "a kind that is a list": {"callbacks": [{**SIGNATURE, "subtask_type": ["chord"]}]},
    "a group of words": {"callbacks": [{**SIGNATURE, "subtask_type": "group", "kwargs": {"tasks": "abc"}}]},
    "a chord without parts": {"callbacks": [{**SIGNATURE, "subtask_type": "chord"}]},
    "a chord whose body is a number": {
        "callbacks": [{**SIGNATURE, "subtask_type": "chord", "kwargs": {"header": [SIGNATURE], "body": 5}}],
    },
    "deep links": {"callbacks": [deep(100)]},
    "callbacks that are a mapping": {"callbacks": {"a": 1}},
    "an errback that is a word": {"errbacks": ["told"]},
    "an errback without a task": {"errbacks": [{}]},
    "a chord that is a list": {"chord": [1]},
    "a chord that is empty": {"chord": {}},
    "a chord whose body is nobody": {"chord": {**SIGNATURE, "task": "no such task"}},
    "a chord whose options are a word": {"chord": {**SIGNATURE, "options": "abc"}},
    "a chord of a strange kind": {
        "chord": {**SIGNATURE, "subtask_type": "group", "kwargs": {"tasks": [1, None]}},
    },
}  # fmt: skip


def test_hostile_third_parts_end_their_tasks_and_nothing_else(place: Place) -> None:
    names: dict[str, str] = {}
    messages = []
    for name, embed in HOSTILE.items():
        for task, in_group in itertools.product(("same", "fail"), (False, True)):
            id = f"h{len(names)}"
            names[id] = f"{name}, of {task}{' in a group' if in_group else ''}"
            headers: dict[str, Any] = {"task": task, "id": id, "retries": 0, "root_id": id}
            if in_group:
                headers |= {"group": f"g{id}", "group_index": 0}
            body = json.dumps(
                [[1], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None} | embed]
            )
            messages.append(Message("celery", headers, body.encode(), "application/json", "utf-8"))
    assert place.app.broker.publish(messages, PATIENCE) == [None] * len(messages)
    for id, name in names.items():
        until(lambda id=id: place.app.AsyncResult(id).state in READY_STATES, name, PATIENCE)  # type: ignore[misc]
    # None of what they send may go round for ever, and the worker is well.
    until(place.empty, "the end of what they have sent", PATIENCE)
    assert get(place.sig("same", "well").apply_async()) == "well"
