"""One canvas under Celery and under greenq: what each sends for it, with ids and times made comparable."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import celery
import celery.canvas
from celery.result import GroupResult as CelerysGroupResult
from kombu import Queue

import greenq
from greenq.chords import ChordOpening
from greenq.message import Message

__all__ = ["Side", "of_celery", "of_greenq"]

Shape = Callable[[SimpleNamespace], Any]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
DROPPED = ("origin", "argsrepr", "kwargsrepr", "ignore_result")


class Side:
    """What one canvas leaves behind: messages, sizes of chords, and the tree of its result."""

    def __init__(self, messages: list[dict[str, Any]], sizes: dict[str, int], tree: Any) -> None:
        names: dict[str, str] = {}
        self.messages = [_normal(message, names) for message in messages]
        self.sizes = {_normal(id, names): size for id, size in sizes.items()}
        self.tree = _normal(tree, names)


def _normal(value: Any, names: dict[str, str], key: str = "") -> Any:
    if key == "reply_to":
        return "reply-to"
    if isinstance(value, dict):
        if value.get("__type__") == "datetime":
            return "time"
        # An option that is None is none, on both sides.
        shown = [name for name in sorted(value) if key != "options" or value[name] is not None]
        return {name: _normal(value[name], names, name) for name in shown if name not in DROPPED}
    if isinstance(value, list | tuple):
        items = [_normal(one, names) for one in value]
        return sorted(items) if key == "stamped_headers" else items
    if isinstance(value, str):
        if TIME.match(value):
            return "time"
        return UUID.sub(lambda found: names.setdefault(found[0], f"id-{len(names)}"), value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _order(headers: dict[str, Any], properties: dict[str, Any], priority: Any, queue: str, body: Any) -> Any:
    return {"a": headers, "b": body, "queue": queue, "priority": priority,
            "correlation": properties.get("correlation_id")}  # fmt: skip


@cache
def _celery() -> Any:
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    _declare(app)
    return app


@cache
def _greenq() -> greenq.GreenQ:
    app = greenq.GreenQ("shop", broker="memory://canvas", results="memory://canvas")
    _declare(app)
    return app


# ── Celery ───────────────────────────────────────────────────────────────────────────────────────────────


def of_celery(shape: Shape) -> Side:
    """Send a canvas with Celery over its memory transport."""
    app = _celery()
    queue = "celery"
    sizes: dict[str, int] = {}
    app.backend.set_chord_size = lambda group, size: sizes.__setitem__(group, size)
    app.backend.apply_chord = lambda *args, **kwargs: None
    names = SimpleNamespace(
        app=app, chain=celery.chain, group=celery.group, chord=celery.chord, signature=app.signature,
        xmap=celery.xmap, xstarmap=celery.xstarmap, chunks=celery.chunks,
        StampingVisitor=celery.canvas.StampingVisitor, **_tasks(app),
    )  # fmt: skip
    result = shape(names)
    messages = []
    with app.connection_for_read() as connection:
        channel = connection.channel()
        for name in (queue, "other"):
            bound = Queue(name, channel=channel, exchange="", routing_key=name)
            bound.declare()
            while (message := bound.get(no_ack=True)) is not None:
                messages.append(
                    _order(
                        message.headers, message.properties, message.properties.get("priority"),
                        "celery" if name == queue else name, message.payload,
                    )
                )  # fmt: skip
    return Side(messages, sizes, _tree(result, CelerysGroupResult))


# ── greenq ───────────────────────────────────────────────────────────────────────────────────────────────


def of_greenq(shape: Shape) -> Side:
    """Send a canvas with greenq over its memory broker."""
    app = _greenq()
    store = app.results
    assert store is not None
    opened: list[ChordOpening] = []
    store.open_chords = lambda openings, timeout: opened.extend(openings)  # type: ignore[method-assign]
    sent: list[Message] = []
    publish = app.broker.publish

    def recorded(messages: Any, timeout: float) -> Any:
        sent.extend(messages)
        return [None] * len(messages)

    app.broker.publish = recorded  # type: ignore[method-assign]
    names = SimpleNamespace(
        app=app, chain=greenq.chain, group=greenq.group, chord=greenq.chord, signature=app.signature,
        xmap=greenq.xmap, xstarmap=greenq.xstarmap, chunks=greenq.chunks,
        StampingVisitor=greenq.StampingVisitor, **_tasks(app),
    )  # fmt: skip
    try:
        result = shape(names)
    finally:
        app.broker.publish = publish  # type: ignore[method-assign]
    messages = [_decoded(app, message) for message in sorted(sent, key=lambda one: one.queue)]
    return Side(messages, {one.group: one.size for one in opened}, _tree(result, greenq.GroupResult))


def _decoded(app: greenq.GreenQ, message: Message) -> dict[str, Any]:
    body = app.codecs.decode(
        message.body, message.content_type, message.content_encoding, message.headers.get("compression")
    )
    return _order(message.headers, message.properties, message.priority, message.queue, body)


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────────


def _declare(app: Any) -> None:
    @app.task(name="shop.add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    @app.task(name="shop.total")
    def total(numbers: list[int], plus: int = 0) -> int:
        return sum(numbers) + plus

    @app.task(name="shop.noop", typing=False)
    def noop(*args: Any, **kwargs: Any) -> None:
        pass

    @app.task(name="shop.failed", typing=False)
    def failed(*args: Any) -> None:
        pass


def _tasks(app: Any) -> dict[str, Any]:
    return {name: app.tasks[f"shop.{name}"] for name in ("add", "total", "noop", "failed")}


def _tree(result: Any, group: type) -> Any:
    if result is None or isinstance(result, int | str | list | float):
        return result
    parent = _tree(result.parent, group)
    if isinstance(result, group):
        return ["group", parent, [_tree(one, group) for one in result.results]]  # type: ignore[attr-defined]
    return ["task", result.id, parent]
