"""What is valid, of each kind that arrives from outside: what the fuzzer spoils."""

from __future__ import annotations

import json
import pickle
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from greenq.codecs import Codecs
from greenq.message import Message
from greenq.redis.envelope import unpack

__all__ = [
    "ACCEPT",
    "COMPRESSIONS",
    "SERIALIZERS",
    "bodies",
    "configs",
    "envelopes",
    "messages",
    "records",
    "trees",
]

WIRE = Path(__file__).parents[1] / "greenq" / "wire" / "captured.json"
ACCEPT = ("json", "msgpack", "yaml", "pickle")
SERIALIZERS = {
    "json": "application/json",
    "msgpack": "application/x-msgpack",
    "yaml": "application/x-yaml",
    "pickle": "application/x-python-serialize",
}
COMPRESSIONS = {
    "zlib": "application/x-gzip",
    "bzip2": "application/x-bz2",
    "lzma": "application/x-lzma",
    "zstd": "application/zstd",
    "brotli": "application/x-brotli",
}
VALUES: tuple[Any, ...] = (
    [[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}],
    [["h\u00e5 \u65e5\u672c", None, [1, {"a": 2.5}]], {"k": True}, {"callbacks": [], "chain": None}],
    [[], {}, {"callbacks": [{"task": "vec.add", "args": [1], "kwargs": {}, "options": {}}], "chord": None}],
    [[list(range(40)), {"deep": [[[[{"x": [1.5, -7, 2**40]}]]]]}], {"text": "y" * 200}, {}],
    {"task": "vec.add", "id": "1", "args": [1, 2], "kwargs": {}, "retries": 0, "eta": None, "expires": None},
)
TYPED = b"""[[{"__type__": "datetime", "__value__": "2030-01-31T12:00:00+00:00"},
 {"__type__": "decimal", "__value__": "1.50"}, {"__type__": "bytes", "__value__": "YWJj", "x": 1},
 {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000001", "version": 4}},
 {"__type__": "base64", "__value__": "YWJj"}], {}, {}]"""
ODD_YAML = b"""- [2030-01-31 12:00:00, 2030-01-31, !!binary YWJj, 0x1f, 1_000, 1:30:05, .nan, ~, yes]
- &a {k: "\\u65e5", <<: {m: 1}}
- {callbacks: null, again: *a}
"""


@cache
def _captured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WIRE.read_text())
    return found


@cache
def envelopes() -> tuple[bytes, ...]:
    """Messages as they lie on a Redis list, written by Celery."""
    return tuple(one["raw"].encode() for some in _captured()["messages"].values() for one in some)


@cache
def trees() -> tuple[dict[str, Any], ...]:
    """The same as dictionaries, with their bodies decoded."""
    found = []
    for raw in envelopes():
        tree = json.loads(raw)
        if tree["properties"].get("body_encoding") == "base64":
            tree["body"] = b64decode(tree["body"])
        else:
            tree["body"] = tree["body"].encode()
        found.append(tree)
    return tuple(found)


@cache
def messages() -> tuple[Message, ...]:
    """The same as greenq reads them."""
    return tuple(unpack("celery", raw) for raw in envelopes())


@cache
def records() -> tuple[bytes, ...]:
    """Results as Celery stores them."""
    found = [raw.encode() for some in _captured()["results"].values() for raw in some]
    return tuple(found)


def compress(body: bytes, kind: str) -> bytes:
    """Compress a body as the header `kind` says."""
    name = next(name for name, known in COMPRESSIONS.items() if known == kind)
    return Codecs()._compressions.load(name).compress(body)


@cache
def bodies() -> dict[tuple[str, str | None], tuple[bytes, ...]]:
    """Bodies by serializer and compression."""
    codecs = Codecs(accept=ACCEPT)
    plain: dict[str, tuple[bytes, ...]] = {
        "json": (*(codecs.encode(value, "json").body for value in VALUES), TYPED),
        "msgpack": tuple(codecs.encode(value, "msgpack").body for value in VALUES),
        "yaml": (*(yaml.safe_dump(value).encode() for value in VALUES), ODD_YAML),
        "pickle": tuple(pickle.dumps(value, protocol=n) for n, value in enumerate(VALUES)),
    }
    found: dict[tuple[str, str | None], tuple[bytes, ...]] = {}
    for serializer, some in plain.items():
        found[serializer, None] = some
        for name, compression in COMPRESSIONS.items():
            compress = codecs._compressions.load(name).compress
            found[serializer, compression] = tuple(compress(body) for body in some)
    return found


def record_of(payload: bytes) -> dict[str, Any]:
    """Decode a result as an application does."""
    found: dict[str, Any] = Codecs().decode(payload, "application/json", "utf-8")
    return found


@cache
def configs() -> tuple[bytes, ...]:
    """Configuration files, the shipped ones among them."""
    root = Path(__file__).parents[2]
    found = [path.read_bytes() for path in sorted((root / "conf").rglob("*.yaml"))]
    return (*found, CONFIG)


CONFIG = b"""app: shop.tasks:app
broker:  {url: "redis://:secret@localhost:6379/0"}
results: {url: "${STORE:-redis://localhost/1}", expires: 1d}
worker:
  pool: gevent
  concurrency: 1000
  queues: [celery, mail]
  lease: 15s
  shutdown_timeout: 30s
tasks:   {serializer: json, compression: zstd, compress_over: 4KiB, acks_late: true, time_limit: 60s}
accept:  [json, msgpack]
routes:  [{match: "mail.*", queue: mail}, {match: "*", queue: celery, priority: 3}]
"""
