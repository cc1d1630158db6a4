"""Messages as each broker brings them: made, spoiled, and taken to their end."""

from __future__ import annotations

import contextlib
import json
from base64 import b64encode
from functools import cache
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped]

from greenq.amqp.envelope import Unreadable as AmqpUnreadable
from greenq.amqp.envelope import due_of, pack_header, unpack
from greenq.brokers.channel import Channel
from greenq.brokers.transports import parse
from greenq.errors import (
    PublishError,
)
from greenq.message import Delivery, Message
from greenq.protocol import key_of
from greenq.redis.envelope import Unreadable as RedisUnreadable
from greenq.redis.envelope import unpack as unpack_text
from greenq.sqlite.envelope import Unreadable as RowUnreadable
from greenq.sqlite.envelope import unpack as unpack_row
from tests.fuzz import samples
from tests.fuzz.mutations import as_json, odd, spoil_bytes, spoil_tree
from tests.fuzz.pipeline import ends_once

__all__ = [
    "content",
    "judge_content",
    "judge_payload",
    "judge_row",
    "judge_text",
    "payload",
    "row",
    "text",
]


def _tree(rng: Random) -> dict[str, Any]:
    """A message whose envelope, or whose body, or both are spoiled."""
    tree = rng.choice(samples.trees())
    if rng.random() < 0.4:
        body = spoil_bytes(rng, tree["body"])
        if rng.random() < 0.5 and tree["content-type"] == "application/json":
            with contextlib.suppress(ValueError):  # it is compressed
                body = as_json(rng, spoil_tree(rng, json.loads(tree["body"])))
        tree = {**tree, "body": body}
        if rng.random() < 0.6:
            return tree
    found: dict[str, Any] = spoil_tree(rng, tree)
    return found


def text(rng: Random) -> bytes:
    """As it may lie on a Redis list."""
    if rng.random() < 0.25:
        return spoil_bytes(rng, rng.choice(samples.envelopes()))
    tree = _tree(rng)
    if isinstance(tree, dict) and isinstance(tree.get("body"), bytes):
        properties = tree.get("properties")
        coded = isinstance(properties, dict) and properties.get("body_encoding") == "base64"
        body = tree["body"]
        tree = {**tree, "body": b64encode(body).decode() if coded else body.decode("utf-8", "replace")}
    return as_json(rng, _without_bytes(tree))


def _without_bytes(tree: Any) -> Any:
    if isinstance(tree, bytes):
        return tree.decode("latin-1")
    if isinstance(tree, dict):
        return {key: _without_bytes(value) for key, value in tree.items()}
    return [_without_bytes(value) for value in tree] if isinstance(tree, list | tuple) else tree


def judge_text(raw: bytes) -> str:
    try:
        delivery = Delivery(unpack_text("celery", raw), "celery", ("p", "0001:celery"))
    except RedisUnreadable as problem:
        delivery = Delivery(None, "celery", ("p", "0001:celery"), 0, str(problem), raw)
    return ends_once(delivery, "redis")


def row(rng: Random) -> tuple[int, Any, Any]:
    """As it may be stored in a row of the embedded database."""
    message = rng.choice(samples.messages())
    fields: Any = [message.headers, message.properties, message.content_type, message.content_encoding, None]
    if rng.random() < 0.7:
        fields = spoil_tree(rng, fields, _odd_for_msgpack)
    try:
        packed = msgpack.packb(fields, unicode_errors="surrogatepass")
    except (ValueError, OverflowError):
        packed = b"\xc1"
    if rng.random() < 0.4:
        packed = spoil_bytes(rng, packed)
    body = message.body if rng.random() < 0.7 else spoil_bytes(rng, message.body)
    return rng.randrange(-9, 1), packed, body if rng.random() < 0.99 else None


def _odd_for_msgpack(rng: Random) -> Any:
    value = odd(rng)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return msgpack.ExtType(rng.randrange(128), b"\0" * rng.choice((0, 1, 8)))
    if rng.random() < 0.05:
        return rng.choice((b"\xff", msgpack.Timestamp(2**33), {1: 2}, {b"task": b"vec.add"}))
    return value


def judge_row(row: tuple[int, Any, Any]) -> str:
    rank, packed, body = row
    try:
        delivery = Delivery(unpack_row("celery", rank, packed, body), "celery", (1, 2, 3))
    except RowUnreadable as problem:
        delivery = Delivery(None, "celery", (1, 2, 3), 0, str(problem), packed or b"")
    return ends_once(delivery, "json")


NOTED = (
    "x-death", "x-first-death-queue", "x-delivery-count", "x-greenq-attempts", "x-greenq-due",
    "x-greenq-dead", "CC", "BCC",
)  # fmt: skip
"""Headers that RabbitMQ or greenq add to what they pass on."""


def content(rng: Random) -> tuple[bytes, bytes]:
    """Properties and body as AMQP brings them."""
    tree = _tree(rng)
    if not isinstance(tree, dict) or not isinstance(tree.get("headers"), dict):
        tree = rng.choice(samples.trees())
    head: dict[str, Any] = dict(tree["headers"])
    if rng.random() < 0.3:
        head[rng.choice(NOTED)] = rng.choice((odd(rng), 3, {"key": 1}, ["a"]))
    body = tree.get("body")
    body = body if isinstance(body, bytes) else b""
    properties = {"correlation_id": "1", "reply_to": "r", "timestamp": 1, "expiration": "10", "app_id": "x"}
    message = Message("celery", head, body, "application/json", "utf-8", properties, 0)
    for name in ("content-type", "content-encoding"):
        value = tree.get(name)
        setattr(message, name.replace("-", "_"), value if isinstance(value, str) else "x")
    try:
        packed = pack_header(message)
    except PublishError:
        message.headers = {"task": "vec.add", "id": "1"}
        message.content_type = message.content_encoding = "x"
        packed = pack_header(message)
    header = b"\0\x3c\0\0" + len(body).to_bytes(8, "big") + packed
    if rng.random() < 0.6:
        header = header[:12] + spoil_bytes(rng, header[12:])
    return header, body


def judge_content(content: tuple[bytes, bytes]) -> str:
    header, body = content
    try:
        message, count, _ = unpack("celery", header, body)
    except AmqpUnreadable as problem:
        raw = len(header).to_bytes(4, "big") + header + body
        return ends_once(Delivery(None, "celery", ("x", 1, 1), 0, str(problem), raw), "amqp")
    hash(key_of(message))
    due_of(message)
    assert count is None or isinstance(count, int)
    return ends_once(Delivery(message, "celery", ("x", 1, 1)), "amqp")


def payload(rng: Random) -> Any:
    """As kombu's virtual transports carry it."""
    tree = _tree(rng)
    if isinstance(tree, dict) and isinstance(tree.get("body"), bytes):
        tree = {**tree, "body": b64encode(tree["body"]).decode()}
    # What cannot be JSON no transport could have carried.
    try:
        return json.loads(json.dumps(_without_bytes(tree)))
    except ValueError:
        return {}


@cache
def _channel() -> Channel:
    channel = Channel(parse("kombu+memory://"))
    channel.declare("fuzz")
    return channel


def judge_payload(payload: Any) -> str:
    channel = _channel()
    channel.open()._put("fuzz", payload)
    found = channel.pull("fuzz")
    assert found is not None
    delivery = Delivery(found.message, "fuzz", found.tag, 0, found.problem, found.raw)
    end = ends_once(delivery, "json")
    channel.ack(found)
    return end
