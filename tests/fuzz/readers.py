"""Everything that reads what came from outside, each with a maker of spoiled inputs and a judge of the end.

A judge returns how the input ended, in a word; whatever else comes out of it is a find.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]

from greenq.amqp.envelope import Unreadable as AmqpUnreadable
from greenq.amqp.envelope import due_of, pack_header, unpack
from greenq.amqp.frames import Assembler
from greenq.amqp.held import key_of
from greenq.asyncresult import AsyncResult
from greenq.brokers.channel import Channel
from greenq.brokers.transports import parse
from greenq.codecs import Codecs
from greenq.config import load
from greenq.errors import (
    BodyTooLarge,
    ConfigError,
    DecodeError,
    GreenqError,
    PublishError,
    ResultStoreError,
    SerializerRefused,
)
from greenq.message import READY_STATES, Delivery, Message, Result
from greenq.redis.envelope import Unreadable as RedisUnreadable
from greenq.redis.envelope import unpack as unpack_text
from greenq.redis.resp import MORE, ProtocolError, Reader, reader
from greenq.sqlite.envelope import Unreadable as RowUnreadable
from greenq.sqlite.envelope import unpack as unpack_row
from tests.fuzz import samples
from tests.fuzz.liars import amqp_session, judge_amqp, judge_redis, redis_session
from tests.fuzz.mutations import as_json, odd, spoil_bytes, spoil_tree
from tests.fuzz.pipeline import MAX_BODY, ends_once
from tests.fuzz.servers import SPOKEN, frames

__all__ = ["READERS", "Kind"]


class Kind(NamedTuple):
    """One kind of input.

    Parameters:
        share: of all inputs, in parts of the sum of all shares.
        make: makes an input.
        judge: reads it; how it ended.
    """

    share: int
    make: Callable[[Random], Any]
    judge: Callable[[Any], str]


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────


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


def _text(rng: Random) -> bytes:
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


def _judge_text(raw: bytes) -> str:
    try:
        delivery = Delivery(unpack_text("celery", raw), "celery", ("p", "0001:celery"))
    except RedisUnreadable as problem:
        delivery = Delivery(None, "celery", ("p", "0001:celery"), 0, str(problem), raw)
    return ends_once(delivery, "redis")


def _row(rng: Random) -> tuple[int, Any, Any]:
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


def _judge_row(row: tuple[int, Any, Any]) -> str:
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


def _content(rng: Random) -> tuple[bytes, bytes]:
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


def _judge_content(content: tuple[bytes, bytes]) -> str:
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


def _payload(rng: Random) -> Any:
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


def _judge_payload(payload: Any) -> str:
    channel = _channel()
    channel.open()._put("fuzz", payload)
    found = channel.pull("fuzz")
    assert found is not None
    delivery = Delivery(found.message, "fuzz", found.tag, 0, found.problem, found.raw)
    end = ends_once(delivery, "json")
    channel.ack(found)
    return end


# ── bodies and results ───────────────────────────────────────────────────────────────────────────────────


@cache
def _codecs() -> Codecs:
    return Codecs(accept=samples.ACCEPT, max_body=MAX_BODY)


def _body(rng: Random) -> tuple[bytes, str, Any]:
    serializer, compression = rng.choice(list(samples.bodies()))
    some = samples.bodies()[serializer, compression]
    if serializer == "json" and compression is None and rng.random() < 0.5:
        data = as_json(rng, spoil_tree(rng, json.loads(rng.choice(some))))
    elif compression is not None and rng.random() < 0.3:
        plain = samples.bodies()[serializer, None]
        data = samples.compress(spoil_bytes(rng, rng.choice(plain), plain), compression)
    else:
        data = spoil_bytes(rng, rng.choice(some), some)
    kind = samples.SERIALIZERS[serializer]
    if rng.random() < 0.05:
        kind = rng.choice((*samples.SERIALIZERS.values(), "", "text/plain"))
    if rng.random() < 0.05:
        return data, kind, odd(rng)
    return data, kind, compression


def _judge_body(given: tuple[bytes, str, Any]) -> str:
    data, kind, compression = given
    try:
        _codecs().decode(data, kind, "utf-8", compression)
        return "decoded"
    except (DecodeError, BodyTooLarge, SerializerRefused) as refusal:
        told = str(refusal)
        end = type(refusal).__name__
    except MemoryError:
        if kind != samples.SERIALIZERS["pickle"]:  # which cannot be bounded
            raise
        return "MemoryError"
    assert 0 < len(told) < 2000, "a refusal that says nothing, or a whole book"
    return end


class OneResult:
    """A store that has one result."""

    result_timeout = 1.0

    def __init__(self, result: Result) -> None:
        self.results: Any = self
        self.result = result

    def get(self, ids: Any, timeout: float) -> dict[str, Result]:
        return dict.fromkeys(ids, self.result)

    def wait(self, ids: Any, timeout: float) -> dict[str, Result]:
        return self.get(ids, timeout)


def _record(rng: Random) -> bytes:
    raw = rng.choice(samples.records())
    if rng.random() < 0.1:
        kind = rng.choice(list(samples.COMPRESSIONS.values()))
        raw = b"greenq/" + kind.encode() + b"\n" + samples.compress(raw, kind)
        return spoil_bytes(rng, raw)
    if rng.random() < 0.3:
        return spoil_bytes(rng, raw, samples.records())
    return as_json(rng, spoil_tree(rng, json.loads(raw)))


def _judge_record(raw: bytes) -> str:
    from tests.fuzz.pipeline import _runner

    store = _runner()[1]
    try:
        record = store.decode(raw)
    except GreenqError as error:
        return type(error).__name__
    result: AsyncResult[Any] = AsyncResult("1", OneResult(record))
    for name in (
        "state",
        "result",
        "traceback",
        "date_done",
        "name",
        "args",
        "worker",
        "retries",
        "children",
    ):
        with contextlib.suppress(ResultStoreError):
            str(getattr(result, name))
    end = result.get(propagate=False, disable_sync_subtasks=False) if record.state in READY_STATES else None
    assert record.state != "FAILURE" or isinstance(end, Exception), f"a failure gives {end!r:.100}"
    return record.state if record.state in READY_STATES else "other"


# ── servers' answers ─────────────────────────────────────────────────────────────────────────────────────


def _pieces(rng: Random, data: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 1, 5))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


LONG_LIST = re.compile(rb"([*~>%|])([0-9]{8,})")


def _replies(rng: Random) -> list[bytes]:
    data = spoil_bytes(rng, b"".join(rng.choices(SPOKEN, k=rng.choice((1, 3)))), SPOKEN)
    # hiredis makes lists as long as they are announced, and no setting of its bounds that.
    return _pieces(rng, LONG_LIST.sub(rb"\g<1>1234567", data))


def _judge_replies(pieces: list[bytes]) -> str:
    ends = set()
    for parser in (Reader(), reader()):
        count = 0
        try:
            for piece in pieces:
                parser.feed(piece)
                while parser.gets() is not MORE:
                    count += 1
            ends.add("read")
        except (ProtocolError, TypeError):  # as `Link` takes them
            ends.add("refused")
        assert count <= sum(map(len, pieces))
    return " or ".join(sorted(ends))


def _stream(rng: Random) -> list[bytes]:
    return _pieces(rng, spoil_bytes(rng, b"".join(rng.choices(frames(), k=rng.choice((1, 4)))), frames()))


def _judge_stream(pieces: list[bytes]) -> str:
    """The connection's thread ends with any exception, and tells all who wait: only hanging would be bad."""
    taken = []
    assembler = Assembler(lambda *answer: taken.append(answer))
    try:
        for piece in pieces:
            assembler.feed(piece)
    except Exception as error:
        return type(error).__name__
    assert sum(len(part) for answer in taken for part in answer[2:]) <= sum(map(len, pieces))
    return "read"


# ── configuration ────────────────────────────────────────────────────────────────────────────────────────


def _config(rng: Random) -> bytes:
    return spoil_bytes(rng, rng.choice(samples.configs()), samples.configs())


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="greenq-fuzz-")


def _judge_config(data: bytes) -> str:
    file = Path(_folder().name, "greenq.yaml")
    file.write_bytes(data)
    try:
        found = load(file, environ={}, names={"pool": ["gevent", "solo"]})
        assert found.describe()
        return "read"
    except ConfigError as error:
        lines = str(error).split("\n")
    assert all("greenq.yaml" in line or line.startswith("and ") for line in lines), lines
    return "refused"


READERS = {
    "redis": Kind(220, _text, _judge_text),
    "amqp": Kind(160, _content, _judge_content),
    "sqlite": Kind(120, _row, _judge_row),
    "kombu": Kind(80, _payload, _judge_payload),
    "body": Kind(180, _body, _judge_body),
    "result": Kind(100, _record, _judge_record),
    "resp": Kind(60, _replies, _judge_replies),
    "frames": Kind(60, _stream, _judge_stream),
    "config": Kind(20, _config, _judge_config),
    "redis server": Kind(2, redis_session, judge_redis),
    "amqp server": Kind(2, amqp_session, judge_amqp),
}
