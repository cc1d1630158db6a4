"""Everything that reads what came from outside, each with a maker of spoiled inputs and a judge of the end.

A judge returns how the input ended, in a word; whatever else comes out of it is a find.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from greenq.amqp.frames import Assembler
from greenq.asyncresult import AsyncResult
from greenq.codecs import Codecs
from greenq.config import load
from greenq.errors import (
    BodyTooLarge,
    ConfigError,
    DecodeError,
    GreenqError,
    ResultStoreError,
    SerializerRefused,
)
from greenq.message import READY_STATES, Result
from greenq.redis.resp import MORE, ProtocolError, Reader, reader
from greenq.resultset import result_from_tuple
from tests.fuzz import messages, samples
from tests.fuzz.liars import amqp_session, bounded, judge_amqp, judge_redis, redis_session
from tests.fuzz.mutations import as_json, odd, spoil_bytes, spoil_tree
from tests.fuzz.pipeline import MAX_BODY
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
        unbounded = isinstance(refusal.__cause__, MemoryError)
        assert not unbounded or kind == samples.SERIALIZERS["pickle"], f"{kind} fills memory"
        told = str(refusal)
        end = type(refusal).__name__
    assert told, "a refusal that says nothing"
    return end


class OneResult:
    """A store that has one result."""

    result_timeout = 1.0
    result_expires = None

    def __init__(self, result: Result) -> None:
        self.results: Any = self
        self.result = result

    def result_from_tuple(self, entry: Any) -> Any:
        return result_from_tuple(entry, self)

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


def _replies(rng: Random) -> list[bytes]:
    data = spoil_bytes(rng, b"".join(rng.choices(SPOKEN, k=rng.choice((1, 3)))), SPOKEN)
    return _pieces(rng, bounded(data))


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
    "redis": Kind(220, messages.text, messages.judge_text),
    "amqp": Kind(160, messages.content, messages.judge_content),
    "sqlite": Kind(120, messages.row, messages.judge_row),
    "kombu": Kind(80, messages.payload, messages.judge_payload),
    "body": Kind(180, _body, _judge_body),
    "result": Kind(100, _record, _judge_record),
    "resp": Kind(60, _replies, _judge_replies),
    "frames": Kind(60, _stream, _judge_stream),
    "config": Kind(20, _config, _judge_config),
    "redis server": Kind(2, redis_session, judge_redis),
    "amqp server": Kind(2, amqp_session, judge_amqp),
}
