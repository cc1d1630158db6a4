"""Signatures as objects: making, changing, copying and reading them back."""

from __future__ import annotations

import copy
import io
import json
import pickle
import sys
from typing import Any

import pytest

from greenq import (
    GreenQ,
    GroupStampingVisitor,
    Signature,
    StampingVisitor,
    chain,
    chord,
    chunks,
    group,
    maybe_signature,
    signature,
    xmap,
)
from greenq.canvas.sending import compose_signature
from greenq.errors import AppError, GreenqError, InvalidOption, InvalidTaskArguments, ResultStoreError
from greenq.protocol import EMBED, HEADERS, TaskCall
from greenq.request import Request


@pytest.fixture
def app() -> GreenQ:
    app = GreenQ("shop", broker="memory://signatures", results="memory://signatures")

    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    return app


def request(id: str = "parent") -> Request:
    return Request(TaskCall((), {}, EMBED, HEADERS | {"id": id, "task": "add", "root_id": "root"}))


def waiting(app: GreenQ) -> int:
    depths = app.broker.depth()
    return depths["celery"].ready if "celery" in depths else 0


def test_a_signature_is_a_dict_as_celery_writes_it(app: GreenQ) -> None:
    assert dict(app.tasks["add"].s(1, y=2).set(queue="mail")) == {
        "task": "add", "args": (1,), "kwargs": {"y": 2}, "options": {"queue": "mail"},
        "subtask_type": None, "immutable": False,
    }  # fmt: skip


def test_a_signature_is_what_it_was_after_json_and_pickle(app: GreenQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    flow = add.s(1, 1) | group(add.s(2), add.s(3)) | total.s()
    for again in (
        signature(json.loads(json.dumps(flow)), app=app), pickle.loads(pickle.dumps(flow)),
        copy.deepcopy(flow), copy.copy(flow), flow.clone(),
    ):  # fmt: skip
        assert isinstance(again, chain)
        assert isinstance(again.tasks[1], chord)
        assert json.loads(json.dumps(again)) == json.loads(json.dumps(flow))


def test_a_copy_is_changed_by_itself(app: GreenQ) -> None:
    add = app.tasks["add"]
    flow = group(add.s(1), add.s(2)) | add.s(3)
    again = flow.clone()
    again.tasks[0].set(queue="mail")
    again.body.link(add.s(9))
    again.body.kwargs["y"] = 5
    assert [flow.tasks[0].options, flow.body.options, flow.body.kwargs] == [{}, {}, {}]


def test_set_and_on_error_return_the_signature_and_link_the_callback(app: GreenQ) -> None:
    one, two = app.tasks["add"].s(1), app.tasks["add"].s(2)
    assert one.set(priority=3) is one
    assert one.link(two) is two
    assert one.link_error(two) is two
    assert one.on_error(two) is one
    assert one.options == {"priority": 3, "link": [two], "link_error": [two]}
    assert one.flatten_links() == [one, two]


def test_replace_changes_a_copy(app: GreenQ) -> None:
    one = app.tasks["add"].s(1, y=2)
    assert one.replace(args=(5,)).args == (5,)
    assert one.replace(kwargs={}).kwargs == {}
    assert (one.args, one.kwargs) == ((1,), {"y": 2})


def test_a_called_signature_runs_the_task_here(app: GreenQ) -> None:
    assert app.tasks["add"].s(2)(1) == 3
    assert app.tasks["add"].si(2)(1) == 2


def test_it_shows_what_it_would_call(app: GreenQ) -> None:
    add = app.tasks["add"]
    assert repr(add.s(1, y=2)) == "add(1, y=2)"
    assert repr(add.s(1) | add.s(2)) == "add(1) | add(2)"
    assert repr(group(add.s(1), add.s(2))) == "group([add(1), add(2)])"
    assert repr(group()) == "group(<empty>)"
    assert repr(chord([add.s(1)], add.s())) == "chord([add(1)], add())"
    assert repr(add.map([1])) == "[add(x) for x in [1]]"
    assert add.s(2).reprcall(1) == "add(1, 2)"


@pytest.mark.parametrize("junk", [{}, {"task": "x"}, {"task": "x", "args": None, "options": None}])
def test_a_dict_that_lacks_parts_is_read(app: GreenQ, junk: dict[str, Any]) -> None:
    sig = signature(junk, app=app)
    assert (sig.args, sig.kwargs, sig.options, sig.immutable) == ((), {}, {}, False)


def test_an_unknown_kind_is_read_as_a_task(app: GreenQ) -> None:
    assert type(signature({"task": "x", "subtask_type": "from the future"}, app=app)) is Signature


def test_a_kind_of_ones_own_is_read_back(app: GreenQ) -> None:
    @Signature.register_type("polite")
    class Polite(Signature):
        @classmethod
        def from_dict(cls, d: Any, app: Any = None) -> Signature:
            return cls(d, app=app)

    try:
        assert type(signature({"task": "x", "subtask_type": "polite"}, app=app)) is Polite
    finally:
        del Signature.TYPES["polite"]


def test_maybe_signature_takes_what_it_gets(app: GreenQ) -> None:
    sig = app.tasks["add"].s(1)
    assert maybe_signature(None) is None
    assert maybe_signature(sig) is sig
    assert maybe_signature(sig, clone=True) is not sig
    assert maybe_signature(dict(sig), app=app) == sig


def test_what_belongs_to_no_application_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["greenq.canvas.signature"], "newest_app", lambda: None)
    with pytest.raises(AppError, match=r"app\.signature"):
        signature("add").delay()


def test_wrong_arguments_are_told_where_the_workflow_is_sent(app: GreenQ) -> None:
    add = app.tasks["add"]
    with pytest.raises(InvalidTaskArguments):
        add.s(1, 2, 3).delay()
    with pytest.raises(InvalidTaskArguments):
        group(add.s(1), add.s(1, 2, 3)).delay()
    assert waiting(app) == 0


def test_a_wrong_option_is_told_where_the_workflow_is_sent(app: GreenQ) -> None:
    with pytest.raises(InvalidOption, match="qeue"):
        group(app.tasks["add"].s(1).set(qeue="x"), app.tasks["add"].s(1)).delay()
    with pytest.raises(InvalidOption, match="chord"):
        group(app.tasks["add"].s(1)).apply_async(link=app.tasks["add"].s())
    with pytest.raises(InvalidOption, match="size of a chunk"):
        chunks(app.tasks["add"].s(), [(1, 2)], 0)
    with pytest.raises(InvalidOption, match="body"):
        chord([app.tasks["add"].s(1)])()


def test_a_chord_needs_a_store_that_counts() -> None:
    app = GreenQ("shop", broker="memory://uncounted", results=None)
    task = app.task(name="t", typing=False)(lambda *args: None)
    with pytest.raises(ResultStoreError, match=r"results\.url"):
        chord([task.s(1), task.s(2)])(task.s())
    assert waiting(app) == 0


def test_ids_are_fixed_before_anything_is_sent(app: GreenQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    first, last = add.s(1, 1), total.s()
    flow = first | group(add.s(2), add.s(3)) | last
    result = flow.freeze()
    assert result.id == last.id
    assert result.parent.id == flow.tasks[1].tasks.id
    assert result.parent.parent.id == flow.tasks[0].id
    assert flow.apply_async().id == result.id


def test_the_end_of_a_task_sends_the_same_ids_again(app: GreenQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    flow = json.loads(json.dumps(group(add.s(2), add.s(3)) | total.s() | add.s(1)))
    made = [compose_signature(app, flow, (1,), request=request(), seed="parent/callback") for _ in "ab"]
    ids = [[message.headers["id"] for message in one.messages] for one in made]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    assert made[0].openings == made[1].openings
    assert made[0].openings[0].anew is False
    other = compose_signature(app, flow, (1,), request=request(), seed="parent/other")
    assert not {message.headers["id"] for message in other.messages} & set(ids[0])
    headers = made[0].messages[0].headers
    assert (headers["parent_id"], headers["root_id"]) == ("parent", "root")


def test_what_came_with_a_message_is_not_changed_by_applying_it(app: GreenQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    flow = json.loads(json.dumps(add.s(1) | group(add.s(2), add.s(3)) | total.s()))
    before = copy.deepcopy(flow)
    compose_signature(app, flow, (1,), request=request(), seed="s")
    assert flow == before


def test_options_that_only_celery_has_are_left_out_of_what_came_with_a_message(app: GreenQ) -> None:
    flow = dict(app.tasks["add"].s(1).set(delivery_mode=2, mandatory=True, expires="2040-01-01T00:00:00"))
    (message,) = compose_signature(app, flow, (1,)).messages
    assert message.headers["expires"] == "2040-01-01T00:00:00+00:00"


def test_skew_spreads_the_members(app: GreenQ) -> None:
    flow = group(app.tasks["add"].s(n) for n in range(5)).skew(start=1, stop=6, step=2)
    assert [task.options["countdown"] for task in flow.tasks] == [1, 3, 5, 5, 5]


def test_a_group_stamps_its_members_with_its_id(app: GreenQ) -> None:
    add = app.tasks["add"]
    inner = group(add.s(1), add.s(2))
    outer = group(inner | add.s(), add.s(3))
    outer.stamp(GroupStampingVisitor())
    assert outer.tasks[1].options["groups"] == [outer.id]
    assert outer.tasks[0].tasks.tasks[0].options["groups"][0] == outer.id
    assert len(outer.tasks[0].tasks.tasks[0].options["groups"]) == 2


def test_a_visitor_may_give_options_that_are_no_stamps(app: GreenQ) -> None:
    class Visitor(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"queue": "mail", "tenant": 7, "stray": 1, "stamped_headers": ["tenant"]}

    sig = app.tasks["add"].s(1)
    sig.stamp(Visitor())
    assert sig.options == {"queue": "mail", "tenant": 7, "stamped_headers": ["tenant"]}


NESTED: Any = {"task": "celery.chain", "kwargs": {"tasks": []}, "subtask_type": "chain"}
for _ in range(400):
    NESTED = {"task": "celery.chain", "kwargs": {"tasks": [NESTED]}, "subtask_type": "chain"}


@pytest.mark.parametrize(
    "junk",
    [
        {"task": "add", "options": {"task_id": 7}},
        {"task": "add", "options": {"link": 5}},
        {"task": "add", "options": {"expires": "tomorrow"}},
        {"task": "add", "options": {"stamped_headers": 5}},
        {"task": "add", "options": {"countdown": "soon"}},
        {"task": "add", "args": 5},
        {"task": "add", "kwargs": 5},
        {"task": "add", "options": 5},
        {"task": "celery.group", "subtask_type": "group"},
        {"task": "celery.group", "kwargs": {"tasks": 5}, "subtask_type": "group"},
        {"task": "celery.group", "kwargs": {"tasks": [5]}, "subtask_type": "group"},
        {"task": "celery.chain", "kwargs": {"tasks": [None]}, "subtask_type": "chain"},
        {"task": "celery.chord", "kwargs": {"header": [], "body": 5}, "subtask_type": "chord"},
        {"task": "celery.chord", "kwargs": {"header": 5, "body": {"task": "add"}}, "subtask_type": "chord"},
        {"task": "celery.chord", "subtask_type": "chord"},
        {"task": "celery.map", "kwargs": {}, "subtask_type": "xmap"},
        {
            "task": "celery.chunks",
            "kwargs": {"task": {"task": "add"}, "it": [], "n": 0},
            "subtask_type": "chunks",
        },
        NESTED,
    ],
)
def test_a_hostile_signature_ends_in_an_error_of_ours(app: GreenQ, junk: Any) -> None:
    with pytest.raises(GreenqError):
        compose_signature(app, junk, (1,), request=request(), seed="s")


def test_an_empty_chain_inside_a_workflow_is_left_out_or_refused(app: GreenQ) -> None:
    add, total = app.tasks["add"], app.tasks["total"]
    assert len(group(chain(), add.s(1)).delay()) == 1
    with pytest.raises(InvalidOption, match="empty chain"):
        chord([add.s(1, 1)], chain()).delay()
    assert total.s().flatten_links() == [total.s()]


def test_a_long_chain_and_a_wide_group_are_sent(app: GreenQ) -> None:
    add = app.tasks["add"]
    result = chain(add.s(1) for _ in range(400)).apply_async((1,))
    length = 1
    while (result := result.parent) is not None:
        length += 1
    assert length == 400
    assert len(group(add.s(n) for n in range(3000)).apply_async()) == 3000


def test_a_map_takes_a_generator_once(app: GreenQ) -> None:
    mapped = xmap(app.tasks["add"].s(), (n for n in range(3)), app=app)
    assert mapped.apply().get() == [0, 1, 2]
    assert mapped.apply().get() == [0, 1, 2]


def test_the_graph_of_an_eager_result_can_be_drawn(app: GreenQ) -> None:
    out = io.StringIO()
    app.tasks["add"].s(1).apply().graph.to_dot(out)
    assert out.getvalue().startswith("digraph")


@pytest.mark.parametrize("kind", [group, chain, lambda *tasks: chord(tasks, tasks[0])])
@pytest.mark.parametrize("junk", [5, "add", [5], None, print])
def test_what_is_no_signature_is_refused_when_a_workflow_is_made(app: GreenQ, kind: Any, junk: Any) -> None:
    with pytest.raises(InvalidOption, match=r"task\.s"):
        kind(junk, app.tasks["add"].s(1))
    with pytest.raises(InvalidOption, match=r"task\.s"):
        kind(junk)
