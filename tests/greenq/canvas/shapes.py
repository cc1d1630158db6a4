"""Canvases of every kind that the manual names, as functions of what an application offers.

`c` has the tasks add, total, noop and failed, and chain, group, chord, signature, … of Celery or of greenq.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

__all__ = ["SHAPES"]

Shape = Callable[[SimpleNamespace], Any]
SHAPES: dict[str, Shape] = {}
LATER = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)


def three(c: Any) -> list[Any]:
    return [c.add.s(n, n) for n in range(3)]


def reread(c: Any, sig: Any) -> Any:
    return c.signature(json.loads(json.dumps(sig)))


# ── one task ─────────────────────────────────────────────────────────────────────────────────────────────

SHAPES |= {
    "a task": lambda c: c.add.s(1, 2).apply_async(),
    "a task with delay": lambda c: c.add.s(1).delay(2),
    "a task by name": lambda c: c.signature("elsewhere.add", args=(1,), kwargs={"y": 2}).delay(),
    "partial arguments": lambda c: c.noop.s(2, b=1).apply_async((1,), {"c": 3}),
    "partial keyword arguments that override": lambda c: c.noop.s(2, b=1).apply_async((1,), {"b": 3}),
    "an immutable task": lambda c: c.noop.si(2).apply_async((1,), {"c": 3}),
    "options of the signature": lambda c: c.noop.s().set(queue="other", time_limit=9, shadow="n").delay(),
    "options of the call go first": lambda c: c.noop.s().set(time_limit=9).apply_async(time_limit=5),
    "signature() with options": lambda c: c.noop.signature((1,), {"a": 2}, countdown=9).apply_async(),
    "subtask()": lambda c: c.noop.subtask((1,), {"a": 2}, queue="other").apply_async(),
    "an eta": lambda c: c.noop.s().set(eta=LATER).delay(),
    "an expiry": lambda c: c.noop.s().set(expires=99).delay(),
    "a clone": lambda c: c.noop.s(2).clone((1,), {"a": 3}, queue="other").delay(),
    "a replaced signature": lambda c: c.noop.s(2).replace(args=(5,), options={"queue": "other"}).delay(),
    "a task that was JSON": lambda c: reread(c, c.noop.s(2, a=1).set(time_limit=3)).delay(),
    "a callback": lambda c: c.noop.apply_async((1,), link=c.add.s(2)),
    "callbacks and errbacks": lambda c: c.noop.apply_async(
        (1,), link=[c.add.s(2), c.add.s(3)], link_error=c.failed.s()
    ),
    "on_error": lambda c: c.noop.s(1).on_error(c.failed.s("x")).delay(),
    "the same errback twice": lambda c: c.noop.s(1).on_error(c.failed.s()).on_error(c.failed.s()).delay(),
    "a callback with a callback": lambda c: c.noop.apply_async(link=c.add.s(1).set(link=c.add.s(2))),
    "a fixed id": lambda c: c.noop.s().apply_async(task_id="11111111-1111-4111-8111-111111111111"),
    "a frozen task": lambda c: frozen(c.noop.s()),
    "custom headers": lambda c: c.noop.s().apply_async(headers={"tenant": "a"}),
    "root and parent ids": lambda c: c.noop.s().apply_async(root_id="r" * 9, parent_id="p" * 9),
    "a group id": lambda c: c.noop.s().apply_async(group_id="g" * 9, group_index=3),
    "a chain option": lambda c: c.noop.apply_async(chain=[c.add.s(2), c.add.s(1)]),
    "no result wanted": lambda c: c.noop.s().set(ignore_result=True).delay(),
}


def frozen(sig: Any) -> Any:
    before = sig.freeze()
    after = sig.apply_async()
    assert before is None or after is None or before.id == after.id
    return after


# ── chains ───────────────────────────────────────────────────────────────────────────────────────────────

SHAPES |= {
    "a chain": lambda c: (c.add.s(1, 1) | c.add.s(2) | c.add.s(3)).apply_async(),
    "chain()": lambda c: c.chain(c.add.s(1, 1), c.add.s(2), c.add.s(3))(),
    "a chain of a list": lambda c: c.chain([c.add.s(1, 1), c.add.s(2)]).delay(),
    "a chain of a generator": lambda c: c.chain(c.noop.s(n) for n in range(4)).delay(),
    "a chain of one": lambda c: c.chain(c.add.s(1, 1)).delay(),
    "a chain of no tasks": lambda c: c.chain()(),
    "a chain with arguments": lambda c: c.chain(c.add.s(2), c.add.s(3))(1),
    "a chain with immutable steps": lambda c: (c.add.si(1, 1) | c.noop.si() | c.noop.s()).apply_async((9,)),
    "a chain in a chain": lambda c: c.chain(c.add.s(1, 1), c.chain(c.add.s(2), c.add.s(3)), c.add.s(4))(),
    "a chain and a chain": lambda c: ((c.add.s(1, 1) | c.add.s(2)) | (c.add.s(3) | c.add.s(4))).apply_async(),
    "a chain with options": lambda c: c.chain(c.noop.s(1), c.noop.s(2)).apply_async(
        queue="other", time_limit=4
    ),
    "a delayed chain": lambda c: c.chain(c.noop.s(1), c.noop.s(2)).apply_async(countdown=60),
    "a chain with set": lambda c: c.chain(c.noop.s(1), c.noop.s(2)).set(queue="other").delay(),
    "a chain with a callback": lambda c: (c.noop.s(1) | c.noop.s(2)).apply_async(link=c.noop.s(3)),
    "a chain with an errback": lambda c: (c.noop.s(1) | c.noop.s(2)).on_error(c.failed.s()).delay(),
    "a chain with both linked": lambda c: linked(c.noop.s(1) | c.noop.s(2), c).delay(),
    "a linked chain goes on": lambda c: (linked(c.noop.s(1) | c.noop.s(2), c) | c.noop.s(3)).delay(),
    "a frozen chain": lambda c: frozen(c.noop.s(1) | c.noop.s(2) | c.noop.s(3)),
    "a cloned chain": lambda c: (c.noop.s(1) | c.noop.s(2)).clone().delay(),
    "a chain that was JSON": lambda c: reread(c, c.noop.s(1) | c.noop.s(2)).delay(),
    "a chain with its id fixed": lambda c: (c.noop.s(1) | c.noop.s(2)).apply_async(
        task_id="11111111-1111-4111-8111-111111111111"
    ),
    "a chain as a callback": lambda c: c.noop.apply_async(link=c.noop.s(1) | c.noop.s(2)),
    "steps in their own queues": lambda c: (
        c.noop.s(1).set(queue="other") | c.noop.s(2).set(queue="third")
    ).delay(),
    "in place": lambda c: in_place(c),
}


def linked(sig: Any, c: Any) -> Any:
    sig.link(c.noop.s("callback"))
    sig.link_error(c.failed.s("errback"))
    return sig


def in_place(c: Any) -> Any:
    sig = c.noop.s(1)
    sig |= c.noop.s(2)
    sig |= c.group(c.noop.s(3), c.noop.s(4))
    return sig.delay()


# ── groups ───────────────────────────────────────────────────────────────────────────────────────────────

SHAPES |= {
    "a group": lambda c: c.group(three(c)).apply_async(),
    "a group called": lambda c: c.group(*three(c))(),
    "a group of a generator": lambda c: c.group(c.add.s(n, n) for n in range(3)).delay(),
    "a group of one": lambda c: c.group(c.add.s(1, 1)).delay(),
    "a group of none": lambda c: c.group([]).delay(),
    "a group with arguments": lambda c: c.group(c.add.s(1), c.add.s(2))(10),
    "a group with immutable members": lambda c: c.group(c.noop.si(1), c.noop.s(2))(10),
    "a group with options": lambda c: c.group(three(c)).apply_async(queue="other", time_limit=3),
    "a group with set": lambda c: c.group(three(c)).set(queue="other").delay(),
    "a group in a group of one": lambda c: c.group(c.group(three(c))).delay(),
    "a group of chains": lambda c: c.group(c.add.s(1, 1) | c.add.s(2), c.add.s(3, 3) | c.add.s(4)).delay(),
    "a skewed group": lambda c: c.group(three(c)).skew(start=1, stop=3).delay(),
    "a linked group": lambda c: linked_group(c).delay(),
    "a frozen group": lambda c: frozen(c.group(three(c))),
    "a group that was JSON": lambda c: reread(c, c.group(three(c))).delay(),
    "a group with its id fixed": lambda c: c.group(three(c)).apply_async(
        task_id="11111111-1111-4111-8111-111111111111"
    ),
    "a task and a group": lambda c: (c.add.s(1, 1) | c.group(c.add.s(1), c.add.s(2))).delay(),
    "a task and a group of one": lambda c: (c.add.s(1, 1) | c.group(c.add.s(1)) | c.add.s(2)).delay(),
    "a task and a group of none": lambda c: (c.add.s(1, 1) | c.noop.s() | c.group([])).delay(),
    "a group as a callback": lambda c: c.noop.apply_async(link=c.group(c.noop.s(1), c.noop.s(2))),
}


def linked_group(c: Any) -> Any:
    group = c.group(three(c))
    group.link(c.noop.s("callback"))
    group.link_error(c.failed.s("errback"))
    return group


# ── chords ───────────────────────────────────────────────────────────────────────────────────────────────

SHAPES |= {
    "a chord": lambda c: c.chord(three(c))(c.total.s()),
    "a chord with its body": lambda c: c.chord(three(c), c.total.s()).apply_async(),
    "a chord of a generator": lambda c: c.chord(c.add.s(n, n) for n in range(3))(c.total.s()),
    "a chord of a group": lambda c: c.chord(c.group(three(c)), c.total.s()).delay(),
    "a chord of one": lambda c: c.chord([c.add.s(1, 1)])(c.total.s()),
    "a chord of none": lambda c: c.chord([])(c.total.s()),
    "a group and a task": lambda c: (c.group(three(c)) | c.total.s()).delay(),
    "a group and two tasks": lambda c: (c.group(three(c)) | c.total.s() | c.add.s(1)).delay(),
    "a group of one and a task": lambda c: (c.group(c.add.s(1, 1)) | c.noop.s()).delay(),
    "a chord with arguments": lambda c: c.chord([c.add.s(1), c.add.s(2)], c.total.s()).apply_async((5,)),
    "a chord with options": lambda c: c.chord(three(c), c.total.s()).apply_async(queue="other"),
    "a delayed chord": lambda c: c.chord(three(c), c.total.s()).apply_async(countdown=60),
    "a chord with set": lambda c: c.chord(three(c), c.total.s()).set(queue="other", countdown=60).delay(),
    "a chord with a linked body": lambda c: c.chord(three(c))(c.total.s().set(link=c.noop.s(1))),
    "a chord with an errback": lambda c: c.chord(three(c))(c.total.s().on_error(c.failed.s())),
    "a linked chord": lambda c: linked(c.chord(three(c), c.total.s()), c).delay(),
    "a chord called with links": lambda c: c.chord(three(c), c.total.s()).apply_async(
        link=c.noop.s(1), link_error=c.failed.s()
    ),
    "a chord with a chain as body": lambda c: c.chord(three(c))(c.total.s() | c.add.s(1) | c.add.s(2)),
    "a chord with a group as body": lambda c: c.chord(three(c))(c.group(c.total.s(), c.total.s(plus=1))),
    "a chord with a chord as body": lambda c: c.chord(three(c))(
        c.chord([c.total.s(), c.total.s(plus=1)], c.total.s())
    ),
    "a chord of chains": lambda c: c.chord([c.add.s(1, 1) | c.add.s(2), c.add.s(3, 3)])(c.total.s()),
    "a chord of chords": lambda c: c.chord([c.chord(three(c), c.total.s()), c.add.s(1, 1)])(c.total.s()),
    "a chord of chains that end in groups": lambda c: c.chord(
        [c.add.s(1, 1) | c.group(c.add.s(2), c.add.s(3)), c.add.s(3, 3)]
    )(c.noop.s()),
    "a chain in front of a chord": lambda c: (
        c.add.s(1, 1) | c.group(c.add.s(2), c.add.s(3)) | c.total.s()
    ).delay(),
    "two chords in a row": lambda c: (
        c.group(three(c)) | c.total.s() | c.group(c.add.s(2), c.add.s(3)) | c.total.s()
    ).delay(),
    "groups in a row": lambda c: (
        c.group(three(c)) | c.group(c.total.s(), c.total.s(plus=1)) | c.total.s() | c.add.s(1)
    ).delay(),
    "a chord and a chord": lambda c: (
        c.chord(three(c), c.total.s()) | c.chord([c.add.s(1), c.add.s(2)], c.total.s())
    ).delay(),
    "a chord and a group": lambda c: (
        c.chord(three(c), c.total.s()) | c.group(c.add.s(1), c.add.s(2))
    ).delay(),
    "a group of chords": lambda c: c.group(
        c.chord(three(c), c.total.s()), c.chord(three(c), c.total.s())
    ).delay(),
    "an immutable chord": lambda c: c.chord([c.noop.si(1), c.noop.si(2)], c.noop.si()).apply_async((9,)),
    "a frozen chord": lambda c: frozen(c.chord(three(c), c.total.s())),
    "a chord that was JSON": lambda c: reread(c, c.chord(three(c), c.total.s())).delay(),
    "a deep chain that was JSON": lambda c: reread(
        c, c.add.s(1, 1) | c.group(c.add.s(2), c.add.s(3) | c.add.s(4)) | c.total.s() | c.add.s(5)
    ).delay(),
    "a chord as a callback": lambda c: c.noop.apply_async(link=c.chord([c.noop.s(1)] * 2, c.noop.s())),
    "a chord as body's callback": lambda c: c.chord(three(c))(
        c.total.s().set(link=c.chord([c.noop.s(1), c.noop.s(2)], c.noop.s()))
    ),
}

# ── maps and stamps ──────────────────────────────────────────────────────────────────────────────────────


def stamped(c: Any, sig: Any, **more: Any) -> Any:
    class Visitor(c.StampingVisitor):  # type: ignore[misc,name-defined]
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"tenant": "a", "by": sig.task}

        def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
            return {"role": "callback"}

        def on_chord_body(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"body": True}

        def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
            return {"grouped": len(group.tasks)}

        def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
            return {"steps": len(chain.tasks), "stamped_headers": ["steps"]}

    sig.stamp(visitor=Visitor(), **more)
    return sig


SHAPES |= {
    "a map": lambda c: c.add.map([1, 2, 3]).apply_async(),
    "a starmap": lambda c: c.add.starmap([(1, 2), (3, 4)]).apply_async(),
    "a map of a generator": lambda c: c.xmap(c.add.s(), (n for n in range(3)), app=c.app).apply_async(
        queue="other"
    ),
    "chunks": lambda c: c.add.chunks([(n, n) for n in range(7)], 3).apply_async(),
    "chunks as a group": lambda c: c.add.chunks([(n, n) for n in range(7)], 3).group().delay(),
    "chunks called": lambda c: c.chunks(c.add.s(), zip(range(5), range(5), strict=True), 2, app=c.app)(),
    "a map in a chain": lambda c: (c.add.starmap([(1, 2), (3, 4)]) | c.total.s()).delay(),
    "maps in a chord": lambda c: c.chord([c.add.starmap([(1, 2)]), c.add.map([1])])(c.noop.s()),
    "a map that was JSON": lambda c: reread(c, c.add.map([1, 2])).delay(),
    "a stamp": lambda c: stamp(c.noop.s(), tag="x").delay(),
    "a stamped chain": lambda c: stamp(c.noop.s(1) | c.noop.s(2), tag="x", more=["y"]).delay(),
    "a stamped group": lambda c: stamp(c.group(c.noop.s(1), c.noop.s(2)), tag="x").delay(),
    "a stamped chord": lambda c: stamp(c.chord([c.noop.s(1), c.noop.s(2)], c.noop.s()), tag="x").delay(),
    "a stamped callback": lambda c: stamp(linked(c.noop.s(), c), tag="x").delay(),
    "stamps again": lambda c: stamp(stamp(c.noop.s(), tag="x"), tag="y", b=1).delay(),
    "stamps appended": lambda c: appended(c).delay(),
    "a visited task": lambda c: stamped(c, linked(c.noop.s(), c)).delay(),
    "a visited chain": lambda c: stamped(c, c.noop.s(1) | c.noop.s(2), tag="x").delay(),
    "a visited group": lambda c: stamped(c, c.group(c.noop.s(1), c.noop.s(2))).delay(),
    "a visited chord": lambda c: stamped(c, c.chord([c.noop.s(1), c.noop.s(2)], c.noop.s())).delay(),
    "a visited workflow": lambda c: stamped(
        c, c.noop.s(1) | c.group(c.noop.s(2), c.noop.s(3) | c.noop.s(4)) | c.noop.s(5) | c.noop.s(6)
    ).delay(),
}


def stamp(sig: Any, **stamps: Any) -> Any:
    sig.stamp(**stamps)
    return sig


def appended(c: Any) -> Any:
    sig = c.noop.s()
    sig.stamp(tag="x")
    sig.stamp(append_stamps=True, tag="y")
    return sig
