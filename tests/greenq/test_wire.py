"""Every captured message and result of a real Celery is read to what Celery meant, and written back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ
from greenq.codecs import Codecs
from greenq.message import Message
from greenq.protocol import read
from greenq.redis.envelope import pack, unpack
from tests.greenq.test_protocol import plain

CAPTURED = json.loads((Path(__file__).parent / "wire" / "captured.json").read_text())
CODECS = Codecs(accept=("json", "msgpack", "yaml", "pickle"))
SERIALIZERS = {
    "application/json": "json",
    "application/x-msgpack": "msgpack",
    "application/x-yaml": "yaml",
    "application/x-python-serialize": "pickle",
}
COMPRESSIONS = {
    "application/x-gzip": "zlib",
    "application/x-bz2": "bzip2",
    "application/x-lzma": "lzma",
    "application/zstd": "zstd",
    "application/x-brotli": "brotli",
}
MESSAGES = [
    pytest.param(message, id=f"{name}-{n}")
    for name, messages in CAPTURED["messages"].items()
    for n, message in enumerate(messages)
]


def decoded(message: Message) -> Any:
    return CODECS.decode(
        message.body, message.content_type, message.content_encoding, message.headers.get("compression")
    )


@pytest.mark.parametrize("captured", MESSAGES)
def test_a_captured_message_is_read_as_celery_reads_it(captured: dict[str, Any]) -> None:
    message = unpack(captured["queue"], captured["raw"].encode())
    assert plain(decoded(message)) == captured["body"]
    call = read(message, CODECS)
    assert call.headers["task"]
    if "task" in message.headers:
        assert plain([call.args, call.kwargs, call.embed]) == captured["body"]
    else:
        assert plain(call.args) == captured["body"]["args"]
        assert plain(call.kwargs) == captured["body"]["kwargs"]


@pytest.mark.parametrize("captured", MESSAGES)
def test_a_captured_message_is_written_back_to_the_same_meaning(captured: dict[str, Any]) -> None:
    message = unpack(captured["queue"], captured["raw"].encode())
    value = decoded(message)
    compression = message.headers.get("compression")
    again = CODECS.encode(
        value,
        SERIALIZERS[message.content_type],
        COMPRESSIONS[compression] if compression else None,
    )
    assert (again.content_type, again.content_encoding) == (message.content_type, message.content_encoding)
    assert again.compression == compression
    message.body = again.body
    packed = pack(message)
    assert plain(decoded(unpack(captured["queue"], packed))) == captured["body"]
    ours, theirs = json.loads(packed), json.loads(captured["raw"])
    assert ours["headers"] == theirs["headers"]
    assert ours.keys() == theirs.keys()
    for envelope in (ours, theirs):
        envelope["properties"].pop("delivery_tag")
        envelope["properties"].pop("delivery_info")
        envelope["properties"].pop("delivery_mode")
        envelope["properties"].pop("expiration", None)
    if message.content_type == "application/json" and not compression:
        assert json.loads(message.body) == json.loads(unpack("q", captured["raw"].encode()).body)
    assert ours["properties"].keys() == theirs["properties"].keys()


@pytest.mark.parametrize("name", CAPTURED["results"])
def test_a_captured_result_is_read_and_written_back_the_same(name: str) -> None:
    app = GreenQ("wire", broker="memory://wire", results="memory://wire")
    store = app.results
    assert store is not None
    for text in CAPTURED["results"][name]:
        result = store.decode(text.encode())
        record = json.loads(text)
        assert (result.id, result.state, result.traceback) == (
            record["task_id"], record["status"], record["traceback"],
        )  # fmt: skip
        store.encode(result)
        assert json.loads(result.payload) == record
