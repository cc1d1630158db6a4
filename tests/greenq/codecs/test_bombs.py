"""Each bomb is refused before it fills memory, within seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from greenq.codecs import Codecs
from tests.greenq.codecs.bombs import BOMBS

ROOM = 100
"""MiB that the whole process may ever hold."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_without_filling_memory(name: str, tmp_path: Path) -> None:
    make, content_type, compression = BOMBS[name]
    bomb = tmp_path / name
    bomb.write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-m", "tests.greenq.codecs.bombs", str(bomb), content_type, compression or ""],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    error, peak, _ = done.stdout.split(maxsplit=2)
    assert error in ("BodyTooLarge", "DecodeError")
    assert float(peak) < ROOM, done.stdout
    if name.endswith("-zeros"):
        assert error == "BodyTooLarge"


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_a_large_honest_body_is_read(serializer: str) -> None:
    value = [{"id": number, "tags": ["[{", "}]"], "at": [1.5, None]} for number in range(100_000)]
    codecs = Codecs()
    sent = codecs.encode(value, serializer, "zlib")
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding, sent.compression) == value


def test_brackets_inside_texts_do_not_count() -> None:
    codecs = Codecs(max_body=100_000)
    value = ["[{" * 10_000, '\\"[' * 5_000]
    sent = codecs.encode(value, "json")
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding) == value


def test_bytes_that_look_like_maps_do_not_count() -> None:
    codecs = Codecs(max_body=100_000)
    sent = codecs.encode([b"\x80" * 50_000, "\u0800" * 10_000], "msgpack")
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding)[0] == b"\x80" * 50_000


def test_a_large_honest_yaml_body_is_read() -> None:
    codecs = Codecs(accept=("yaml",))
    shared = {"a": 1}
    value = [{"id": number, "shared": shared} for number in range(2_000)] + ["word " * 5_000]
    sent = codecs.encode(value, "yaml")
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding) == value


@pytest.mark.parametrize(("serializer", "levels"), [("json", 499), ("msgpack", 499), ("yaml", 150)])
def test_what_is_nested_up_to_the_bound_is_read(serializer: str, levels: int) -> None:
    codecs = Codecs(accept=(serializer,))
    value: list[object] = []
    for _ in range(levels - 1):
        value = [value]
    sent = codecs.encode(value, serializer)
    assert codecs.decode(sent.body, sent.content_type, sent.content_encoding) == value
