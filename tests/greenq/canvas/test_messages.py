"""What greenq sends for a canvas is what Celery sends for it."""

from __future__ import annotations

import json
import logging
import random
from types import SimpleNamespace
from typing import Any

import pytest

import greenq
from tests.greenq.canvas.shapes import SHAPES
from tests.greenq.canvas.sides import of_celery, of_greenq


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("ignore")
def test_a_canvas_sends_what_celery_sends(name: str) -> None:
    celerys, ours = of_celery(SHAPES[name]), of_greenq(SHAPES[name])
    assert ours.messages == celerys.messages
    assert ours.sizes == celerys.sizes
    assert ours.tree == celerys.tree


def build(c: Any, dice: random.Random, depth: int) -> Any:
    """A random canvas; the same for Celery and for greenq from the same dice."""
    kind = dice.random()
    if depth == 0 or kind < 0.25:
        number = dice.randrange(9)
        sig = c.noop.si(number) if dice.random() < 0.2 else c.noop.s(number)
        change = dice.randrange(12)
        if change == 0:
            sig.set(queue="other", time_limit=5)
        elif change == 1:
            sig.link(c.noop.s("callback"))
        elif change == 2:
            sig.link_error(c.failed.s("errback"))
        return sig
    if kind < 0.5:
        return build(c, dice, depth - 1) | build(c, dice, depth - 1)
    members = [build(c, dice, depth - 1) for _ in range(dice.randrange(1, 4))]
    if kind < 0.65:
        return c.chain(*members)
    # Groups directly in groups are put in another order by Celery: a test of their own is below.
    members = [flat(member) for member in members]
    return c.group(members) if kind < 0.85 else c.chord(members, build(c, dice, depth - 1))


def flat(sig: Any) -> Any:
    while sig.get("subtask_type") == "group":
        sig = sig.tasks[0]
    return sig


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.filterwarnings("ignore")
def test_a_random_canvas_sends_what_celery_sends(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    def shape(c: SimpleNamespace) -> Any:
        return build(c, random.Random(seed), 3).apply_async()

    caplog.set_level(logging.CRITICAL, "celery")
    celerys, ours = of_celery(shape), of_greenq(shape)
    assert ours.messages == celerys.messages
    assert ours.sizes == celerys.sizes
    assert ours.tree == celerys.tree


def test_groups_in_a_group_keep_the_order_that_they_are_written_in() -> None:
    # Celery turns the members of the inner group round where a chord follows.
    def shape(c: SimpleNamespace) -> Any:
        inner = c.group(c.noop.s("b"), c.noop.s("c"))
        return (c.group(c.noop.s("a"), inner, c.noop.s("d")) | c.noop.s()).delay()

    sent = of_greenq(shape).messages
    assert [message["b"][0] for message in sent] == [["a"], ["b"], ["c"], ["d"]]
    assert [message["a"]["group_index"] for message in sent] == [0, 1, 2, 3]


def test_a_chain_that_begins_with_a_group_hands_its_arguments_on() -> None:
    # Celery drops them.
    def shape(c: SimpleNamespace) -> Any:
        return c.chain(c.group(c.noop.s(1), c.noop.s(2)), app=c.app).apply_async((7,))

    assert [message["b"][0] for message in of_greenq(shape).messages] == [[7, 1], [7, 2]]


def test_a_result_tree_names_the_group_that_the_messages_name() -> None:
    app = greenq.GreenQ("shop", broker="memory://canvas-tree", results="memory://canvas-tree")
    task = app.task(name="noop", typing=False)(lambda *args: None)
    result = (task.s(1) | greenq.group(task.s(2), task.s(3)) | task.s(4)).apply_async()
    app.broker.lease("tree", 60)
    (delivery,) = app.broker.fetch(["celery"], 1, 1)
    assert delivery.message is not None
    _, _, embed = app.codecs.decode(delivery.message.body, "application/json", "utf-8", None)
    assert embed["chain"][0]["options"]["task_id"] == result.parent.id
    app.close()


def test_chunks_that_were_json_are_still_chunks() -> None:
    # Celery sends one message of a task that cannot return what it does.
    def shape(c: SimpleNamespace) -> Any:
        return c.signature(json.loads(json.dumps(c.add.chunks([(1, 2), (3, 4), (5, 6)], 2)))).delay()

    assert [message["a"]["task"] for message in of_greenq(shape).messages] == ["celery.starmap"] * 2
