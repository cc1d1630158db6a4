"""Results that somebody else wrote: too large, too deep or nonsense. Asking for one says so, and at once."""

from __future__ import annotations

import time
import zlib

import pytest

from greenq import GreenQ
from greenq.errors import BodyTooLarge, DecodeError, GreenqError
from tests.servers import shared_redis

MIB = 1024 * 1024
PATIENCE = 30.0

HOSTILE: dict[str, tuple[bytes, type[GreenqError]]] = {
    "a bomb": (b"greenq/application/x-gzip\n" + zlib.compress(b" " * 50 * MIB), BodyTooLarge),
    "a giant": (b'{"task_id":"1","status":"SUCCESS","result":"' + b"x" * 2 * MIB + b'"}', BodyTooLarge),
    "an abyss": (b'{"task_id":"1","status":"x","result":' + b"[" * 9000 + b"]" * 9000 + b"}", DecodeError),
    "no JSON": (b"\x80\x04N.", DecodeError),
    "no record": (b"[1]", DecodeError),
    "an unknown compression": (b"greenq/application/x-nothing\n{}", DecodeError),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_result_is_refused_by_name_before_it_fills_memory(name: str) -> None:
    payload, kind = HOSTILE[name]
    server, url = shared_redis(), shared_redis().empty()
    app = GreenQ("reader", broker=url, results=url, tasks={"max_body": MIB})
    server.do("SET", "celery-task-meta-1", payload, url=url)
    begun = time.monotonic()
    with pytest.raises(kind):
        app.AsyncResult("1").get(timeout=PATIENCE)
    with pytest.raises(kind):
        _ = app.AsyncResult("1").state
    assert time.monotonic() - begun < PATIENCE
    app.close()
