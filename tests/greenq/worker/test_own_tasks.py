"""The tasks that every worker serves, whatever its application declares: what Celery's clients may send."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from greenq import ChordError, InvalidOption
from greenq.message import FAILURE, SUCCESS, Result
from tests.greenq.worker.test_chords import Place, error_of, get
from tests.waiting import until


@pytest.fixture
def place() -> Iterator[Place]:
    with Place() as made:
        yield made


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Place]:
    """Results in a directory, where nobody can count."""
    with Place(results=f"file://{tmp_path}") as made:
        yield made


def sent(place: Place, name: str, *args: Any, **kwargs: Any) -> Any:
    """What a built-in task returns."""
    return get(place.app.send_task(name, args, kwargs))


def as_result(place: Place, entry: Any) -> Any:
    return place.app.result_from_tuple(entry)


def test_chunks_are_sent_as_a_group(place: Place) -> None:
    parts = place.app.send_task("celery.chunks", (place.sig("add"), [[1, 1], [2, 2], [3, 3]], 2))
    assert get(as_result(place, get(parts))) == [[2, 4], [6]]
    assert [child[0][0] for child in place.record(parts.id).children] == [get(parts)[0][0]]


def test_a_chord_is_sent_with_its_body(place: Place) -> None:
    header = [place.sig("add", 1), place.sig("add", 2)]
    entry = sent(place, "celery.chord", header, place.sig("total"), partial_args=[10])
    assert get(as_result(place, entry)) == 23


def test_a_group_is_sent_under_the_ids_that_it_came_with(place: Place) -> None:
    ids = [str(uuid.uuid4()) for _ in range(2)]
    members = [place.sig("add", 1, task_id=id) for id in ids]
    tree = [["the-group", None], [[[id, None], None] for id in ids]]
    assert sent(place, "celery.group", members, tree, "the-group", [4]) == tree
    assert get(as_result(place, tree)) == [5, 5]


def test_a_chain_is_no_task(place: Place) -> None:
    error = error_of(place.app.send_task("celery.chain"))
    assert isinstance(error, InvalidOption)


def test_results_are_cleaned_up_and_a_ping_is_answered(place: Place) -> None:
    assert sent(place, "celery.backend_cleanup") is None
    assert sent(place, "celery.ping") == "pong"


def test_what_cannot_be_applied_fails(place: Place) -> None:
    for args in ((None, [], 1), ({"task": 5}, [[1]], 1), ("add", [[1]], 0)):
        assert isinstance(error_of(place.app.send_task("celery.chunks", args)), Exception)
    assert isinstance(error_of(place.app.send_task("celery.chord", ([{}], {}))), Exception)


# ── celery.chord_unlock ──────────────────────────────────────────────────────────────────────────────────


def unlock(place: Place, members: list[Any], body: Any, **options: Any) -> Any:
    """Send a chord as Celery's client does where nobody counts; the result of its body."""
    group = str(uuid.uuid4())
    body = body.clone(task_id=str(uuid.uuid4()))
    results = []
    for index, member in enumerate(members):
        sent = member.clone(group_id=group, group_index=index, chord=dict(body)).apply_async()
        results.append(sent.as_tuple())
    given = {"interval": 0.05, "result": results} | options
    place.app.send_task("celery.chord_unlock", (group, dict(body)), given, ignore_result=True)
    return place.app.AsyncResult(body.id)


def test_a_chord_that_nobody_counts_is_asked_for(files: Place) -> None:
    body = files.sig("total")
    body.link(files.sig("note"))
    members = [files.sig("add", n, n) for n in range(5)]
    assert get(unlock(files, members, body)) == 20
    until(lambda: files.notes == [20], "the callback of the body")


def test_members_that_are_counted_in_vain_are_reported_with_what_to_do(
    files: Place, caplog: pytest.LogCaptureFixture
) -> None:
    member = files.sig("add", 1, 1).clone(group_id="lonely", chord=dict(files.sig("total")))
    assert get(member.apply_async()) == 2
    [said] = {record.getMessage() for record in caplog.records if "lonely" in record.getMessage()}
    assert "cannot be counted" in said
    assert "set results.url to redis://" in said


def test_a_member_is_run_once_and_reported_where_no_results_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Place(results=None) as place:
        place.sig("note", 7).clone(group_id="lonely", chord=dict(place.sig("total"))).apply_async()
        until(lambda: "lonely" in caplog.text, "the report")
        place.sig("note", 8).apply_async()
        until(lambda: len(place.notes) > 1, "the next task")
        assert place.notes == [7, 8]
    assert "no results are kept: set results.url" in caplog.text


def test_it_asks_until_the_last_member_has_ended(files: Place) -> None:
    late = str(uuid.uuid4())
    body = files.sig("total", task_id=str(uuid.uuid4()))
    first = files.sig("add", 1, 1).apply_async()
    given = {"interval": 0.05, "result": [first.as_tuple(), [[late, None], None]]}
    files.app.send_task(
        "celery.chord_unlock", ("group", dict(body)), given, task_id="unlock", ignore_result=False
    )
    get(first)
    store: Any = files.app.results
    until(lambda: store.get(["unlock"], 30).get("unlock"), "a first look in vain")
    assert files.record("unlock").state == "RETRY"
    ended = Result(late, SUCCESS, 40)
    store.encode(ended)
    store.put([ended], 30)
    assert get(files.app.AsyncResult(body.id)) == 42


def test_a_member_that_failed_fails_the_body_and_calls_its_errbacks(files: Place) -> None:
    body = files.sig("total")
    body.link_error(files.sig("told"))
    result = unlock(files, [files.sig("add", 1, 1), files.sig("fail", 1)], body)
    error = error_of(result)
    assert isinstance(error, ChordError)
    assert "raised ValueError" in str(error)
    assert [note[0] for note in files.notes] == [result.id]


def test_it_gives_up_after_so_many_looks(files: Place) -> None:
    body = files.sig("total", task_id=str(uuid.uuid4()))
    never = {"interval": 0.05, "result": [[["never", None], None]], "max_retries": 2}
    files.app.send_task("celery.chord_unlock", ("group", dict(body)), never, ignore_result=True)
    error = error_of(files.app.AsyncResult(body.id))
    assert isinstance(error, ChordError)
    assert "2 looks" in str(error)


@pytest.mark.parametrize("result", [None, "text", 5, [5], [[["id"], None]], [[[5, None], None]], [[[], []]]])
def test_a_chord_that_is_no_such_thing_fails_and_is_not_asked_for_again(files: Place, result: Any) -> None:
    body = dict(files.sig("total", task_id=str(uuid.uuid4())))
    call = files.app.send_task(
        "celery.chord_unlock", ("group", body), {"result": result}, ignore_result=False
    )
    until(call.ready, "its end")
    assert call.state == (SUCCESS if result is None else FAILURE)


def test_a_store_that_counts_is_not_confused(tmp_path: Path) -> None:
    with Place(results=f"db+sqlite:///{tmp_path}/results.db") as place:
        result = unlock(place, [place.sig("add", n, n) for n in range(3)], place.sig("note"))
        assert get(result) == [0, 2, 4]
        get(place.app.send_task("celery.ping"))
        assert place.notes == [[0, 2, 4]]
