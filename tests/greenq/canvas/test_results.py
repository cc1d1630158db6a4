"""Results of groups and chains: waiting, asking, following the tree, saving and restoring."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import celery
import pytest
from celery.result import GroupResult as CelerysGroupResult

from greenq import GreenQ, GroupResult, ResultSet, ResultTimeout, chain, chord, group
from greenq.asyncresult import AsyncResult
from greenq.control.client import Control
from greenq.errors import GreenqError, IncompleteStream, ResultStoreError
from greenq.failures import describe
from greenq.message import FAILURE, SUCCESS, Result
from greenq.resultset import result_from_tuple
from tests.servers import shared_redis


@pytest.fixture
def app() -> Iterator[GreenQ]:
    app = GreenQ("shop", broker="memory://results", results="memory://results")
    app.task(name="add")(lambda x, y=0: x + y)
    app.task(name="total")(lambda numbers: sum(numbers))
    app.task(name="fail", typing=False)(lambda *args: 1 / 0)
    yield app
    app.close()


def end(app: GreenQ, id: str, value: Any, state: str = SUCCESS, children: Any = ()) -> None:
    store = app.results
    assert store is not None
    value = describe(value) if isinstance(value, Exception) else value
    result = Result(id, state, value, children=list(children))
    store.encode(result)
    store.put([result], 5)


def members(app: GreenQ, *ids: str) -> list[AsyncResult[Any]]:
    return [app.AsyncResult(id) for id in ids]


def test_a_group_is_waited_for_in_its_order(app: GreenQ) -> None:
    result = GroupResult("g1", members(app, "g1b", "g1a"), app=app)
    for id in ("g1a", "g1b"):
        threading.Timer(0.05, end, (app, id, id)).start()
    assert result.get(timeout=60) == ["g1b", "g1a"]
    assert result.join() == result.join_native() == ["g1b", "g1a"]


def test_a_group_tells_how_far_it_is(app: GreenQ) -> None:
    result = GroupResult("g2", members(app, "g2a", "g2b", "g2c"), app=app)
    assert (result.waiting(), result.ready(), result.completed_count()) == (True, False, 0)
    end(app, "g2a", 1)
    assert (result.completed_count(), result.successful(), result.failed()) == (1, False, False)
    end(app, "g2b", ValueError("no"), FAILURE)
    assert (result.failed(), result.ready()) == (True, False)
    with pytest.raises(ValueError, match="no"):
        result.maybe_throw()
    end(app, "g2c", 3)
    assert (result.ready(), result.successful(), result.completed_count()) == (True, False, 2)
    with pytest.raises(ValueError, match="no"):
        result.get(timeout=60)
    values = result.get(timeout=60, propagate=False)
    assert (values[0], str(values[1]), values[2]) == (1, "no", 3)


def test_a_failure_is_raised_while_others_still_run(app: GreenQ) -> None:
    result = GroupResult("g3", members(app, "g3a", "g3b"), app=app)
    end(app, "g3b", KeyError("k"), FAILURE)
    with pytest.raises(KeyError):
        result.get(timeout=60)


def test_a_group_that_does_not_end_in_time_says_so(app: GreenQ) -> None:
    with pytest.raises(ResultTimeout, match="2 of 2"):
        GroupResult("g4", members(app, "g4a", "g4b"), app=app).get(timeout=0.01)


def test_callbacks_hear_of_each_member(app: GreenQ) -> None:
    result = GroupResult("g5", members(app, "g5a", "g5b"), app=app)
    heard: list[Any] = []
    beats: list[Any] = []
    result.then(heard.append)
    result.results[0].then(lambda one: heard.append(one.id))
    end(app, "g5a", 1)
    end(app, "g5b", 2)
    got: list[Any] = []
    messages: list[Any] = []
    values = result.get(
        timeout=60, callback=lambda id, value: got.append((id, value)), on_message=messages.append,
        on_interval=lambda: beats.append(1), interval=0.01,
    )  # fmt: skip
    assert values == []
    assert sorted(got) == [("g5a", 1), ("g5b", 2)]
    assert {message["status"] for message in messages} == {SUCCESS}
    assert heard == ["g5a", result] or heard == [result, "g5a"]
    assert beats


def test_records_come_as_they_end(app: GreenQ) -> None:
    result = GroupResult("g6", members(app, "g6a", "g6b"), app=app)
    end(app, "g6b", 2)
    records = result.iter_native(timeout=60)
    assert next(records)[0] == "g6b"
    end(app, "g6a", 1)
    assert next(records)[1]["result"] == 1


def test_then_is_told_of_a_failure_apart(app: GreenQ) -> None:
    heard: list[str] = []
    for id, value, state in (("t1", 1, SUCCESS), ("t2", ValueError(), FAILURE)):
        end(app, id, value, state)
        result = app.AsyncResult(id)
        result.then(lambda one: heard.append("good " + one.id), lambda one: heard.append("bad " + one.id))
        assert result.ready()
    assert heard == ["good t1", "bad t2"]


def test_progress_is_told_while_it_is_waited_for(app: GreenQ) -> None:
    end(app, "p1", {"done": 1}, "PROGRESS")
    heard: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        heard.append(message["status"])
        if message["status"] == "PROGRESS":
            end(app, "p1", 5)

    assert app.AsyncResult("p1").get(timeout=60, on_message=hear, interval=0.01) == 5
    assert heard == ["PROGRESS", SUCCESS]


def test_a_failure_before_it_in_the_chain_is_raised(app: GreenQ) -> None:
    end(app, "c1", LookupError("first"), FAILURE)
    last = AsyncResult[Any]("c2", app, app.AsyncResult("c1"))
    with pytest.raises(LookupError, match="first"):
        last.get(timeout=60)
    with pytest.raises(ResultTimeout):
        last.get(timeout=0.01, follow_parents=False)


def test_the_tree_is_followed(app: GreenQ) -> None:
    leaf, inner = app.AsyncResult("leaf"), GroupResult("in", members(app, "m1", "m2"), app=app)
    end(app, "top", 0, children=[leaf.as_tuple(), inner.as_tuple()])
    top = app.AsyncResult("top")
    assert top.children == [leaf, inner]
    with pytest.raises(IncompleteStream):
        list(top.iterdeps())
    assert len(list(top.iterdeps(intermediate=True))) == 3
    for number, id in enumerate(("leaf", "m1", "m2")):
        end(app, id, number)
    assert [value for _, value in top.collect()] == [0, 0, [1, 2], 1, 2]
    assert top.get_leaf() == 2
    graph = top.graph
    assert graph[top] == [leaf, inner]
    assert graph.topsort()[-1] == top
    assert graph.valency_of(top) == 5
    assert graph.edges() == [top, inner]


def test_a_tree_is_what_it_was_when_it_is_read_back(app: GreenQ) -> None:
    before = AsyncResult[Any]("a", app)
    tree = GroupResult("g", [AsyncResult[Any]("b", app, before), GroupResult("h", [])], before, app)
    again = result_from_tuple(tree.as_tuple(), app)
    assert again == tree
    assert again.as_tuple() == tree.as_tuple()
    assert again.as_list() == ["g", "a"]


@pytest.mark.parametrize("junk", [None, 5, [], [["a", None]], [["a", None], 5], [[5, None], None], "ab"])
def test_a_tree_of_another_shape_is_refused(app: GreenQ, junk: Any) -> None:
    with pytest.raises(ResultStoreError, match="children"):
        result_from_tuple(junk, app)


def test_a_tree_without_end_is_refused(app: GreenQ) -> None:
    deep: Any = [["x", None], None]
    for _ in range(2000):
        deep = [["x", deep], None]
    with pytest.raises(ResultStoreError):
        result_from_tuple(deep, app)
    deep = [["x", None], []]
    for _ in range(100):
        deep = [["x", None], [deep]]
    with pytest.raises(ResultStoreError):
        result_from_tuple(deep, app)


def test_a_set_of_results_is_changed(app: GreenQ) -> None:
    one, two = members(app, "s1", "s2")
    some = ResultSet([one], app)
    some.add(one)
    some.update([one, two])
    assert list(some) == [one, two]
    assert (len(some), some[1]) == (2, two)
    some.remove("s1")
    some.discard("gone")
    with pytest.raises(KeyError):
        some.remove("gone")
    assert some == ResultSet([two])
    some.clear()
    assert not some
    assert some.get() == []


def test_a_group_is_saved_and_restored(app: GreenQ) -> None:
    saved = GroupResult("kept", members(app, "k1", "k2"), app.AsyncResult("before"), app)
    assert GroupResult.restore("kept", app=app) is None
    saved.save()
    again = app.GroupResult.restore("kept")
    assert again == saved
    end(app, "k1", 1)
    end(app, "k2", 2)
    assert again.get(timeout=60) == [1, 2]
    saved.delete()
    assert app.GroupResult.restore("kept") is None
    with pytest.raises(ResultStoreError, match="app=…"):
        GroupResult.restore("kept")


def test_celery_restores_what_greenq_saved_and_the_other_way_round() -> None:
    url = shared_redis().empty()
    ours = GreenQ("shop", broker="memory://restoring", results=url)
    theirs = celery.Celery("shop", broker="memory://", backend=url, set_as_current=False)
    GroupResult("ours", members(ours, "a", "b"), ours.AsyncResult("p"), ours).save()
    read = theirs.GroupResult.restore("ours")
    assert ([one.id for one in read.results], read.parent.id) == (["a", "b"], "p")
    inner = CelerysGroupResult("inner", [theirs.AsyncResult("d")], app=theirs)
    CelerysGroupResult("theirs", [theirs.AsyncResult("c"), inner], app=theirs).save(theirs.backend)
    again = ours.GroupResult.restore("theirs")
    assert again.as_tuple() == [
        ["theirs", None],
        [[["c", None], None], [["inner", None], [[["d", None], None]]]],
    ]
    ours.close()


def test_forgetting_a_group_forgets_its_members(app: GreenQ) -> None:
    end(app, "f1", 1)
    result = GroupResult("f", members(app, "f1"), app=app)
    assert result.ready()
    result.forget()
    assert not app.AsyncResult("f1").exists()


def test_a_group_is_revoked_by_one_command(app: GreenQ, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(
        Control, "revoke", lambda self, ids, **options: told.append((ids, options["terminate"]))
    )
    inner = GroupResult("inner", members(app, "r2", "r3"), app=app)
    GroupResult("r", [*members(app, "r1"), inner], app=app).revoke(terminate=True)
    assert told == [(["r1", "r2", "r3"], True)]


def test_a_result_without_an_application_cannot_be_revoked() -> None:
    with pytest.raises(GreenqError, match="no application"):
        AsyncResult("r1", None).revoke()


def test_workflows_run_here_with_apply(app: GreenQ) -> None:
    add, total, fail = app.tasks["add"], app.tasks["total"], app.tasks["fail"]
    assert chain(add.s(1, 1), add.s(2), add.s(3)).apply().get() == 7
    assert group(add.s(n, n) for n in range(3)).apply().get() == [0, 2, 4]
    assert chord([add.s(1, 1), add.s(2, 2)], total.s()).apply().get() == 6
    flow = add.s(1, 1) | group(add.s(1), add.s(2) | add.s(3)) | total.s() | add.s(10)
    assert flow.apply().get() == 20
    assert add.starmap([(1, 2), (3, 4)]).apply().get() == [3, 7]
    assert add.chunks([(n, n) for n in range(5)], 2).apply().get() == [[0, 2], [4, 6], [8]]
    with pytest.raises(ZeroDivisionError):
        chain(add.s(1, 1), fail.s(), add.s(1)).apply()
    with pytest.raises(ZeroDivisionError):
        chord([add.s(1, 1), fail.s()], total.s()).apply()


def test_workflows_run_here_with_eager_tasks() -> None:
    app = GreenQ("shop", broker="memory://eager", results="memory://eager", tasks={"eager": True})
    heard: list[Any] = []
    add = app.task(name="add")(lambda x, y=0: x + y)
    total = app.task(name="total")(lambda numbers: sum(numbers))
    hear = app.task(name="hear", typing=False)(lambda *args: heard.append(args))
    boom = app.task(name="boom", typing=False)(lambda *args: 1 / 0)
    flow = add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()
    assert flow.delay().get() == 7
    assert group(add.s(1), add.s(2))(1).get() == [2, 3]
    add.apply_async((1, 2), link=hear.s("linked"))
    assert heard == [(3, "linked")]
    boom.apply_async(link_error=hear.s())
    assert isinstance(heard[1][1], ZeroDivisionError)
    assert app.broker.depth() == {}
