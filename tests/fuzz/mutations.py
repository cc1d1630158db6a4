"""Spoil what is valid: bytes, and trees of plain values."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

__all__ = ["as_json", "odd", "spoil_bytes", "spoil_tree"]

Path = tuple[Any, ...]

MOMENTS = (
    "2001-01-01T00:00:00", "2001-01-01T00:00:00+00:00", "2099-12-31T23:59:59Z", "9999-12-31T23:59:59.999999",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2030-02-30T00:00:00", "tomorrow", "20300101",
    "2030-W01-1", "2030-01-31T12:00:00+25:00", "2030-01-31 12:00", "\u0662\u0660\u0663\u0660-01-01",
)  # fmt: skip
PIECES = (
    b"", b"\0", b"\xff", b"\xce", b"\r\n", b"[", b"]", b"{", b"}", b'"', b"'", b"\\", b"\\u", b"\\ud800",
    b",", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"-0", b"0" * 50, b"9" * 400, b"9" * 5000,
    b"\xed\xa0\x80",
    b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b'"__type__"',
    b'{"__type__":"decimal","__value__":"x"}',
    b'{"__type__":"datetime","__value__":"x"}', b'{"__type__":"uuid","__value__":{"hex":1,"version":9}}',
    b'{"__type__":"bytes","__value__":5}', b'{"__type__":[],"__value__":5}', b"[" * 300, b"[" * 3000,
    b'{"a":' * 2000, b"\x91" * 600, b"\xdd\xff\xff\xff\xff", b"\xdf\x00\xff\xff\xff", b"\xc6\x7f\xff\xff\xff",
    b"\xc7\xff\x05", b"\xd6\xff\x00\x00\x00\x00", b"\xc1", b"*a", b"&a [*a]", b"!!python/object:os.system",
    b"!!int", b"!!timestamp 9999-99-99", b"\t", b"---", b"...", b"%YAML 9.9", b"? ", b"- " * 50, b"<<: *a",
    b"\x80\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9", b"\x78\x9c", b"*-1", b"$-1\r\n", b"%2\r\n",
    b"$999999999999\r\n", b"*2147483647\r\n", b">1\r\n", b"|1\r\n", b"-ERR x\r\n", b"#t\r\n", b",inf\r\n",
)  # fmt: skip
WORDS = (
    "", " ", "x", "\0", "a" * 300, "\ud800", "\udfff\ud800", "\x1b[31m", "\u202e", "e\u0301", "é", "日本",
    "../../etc/passwd", "%s%n", "{}", "${X}", "True", "null", "0", "-1", "1e3", "vec.add", "vec.fail",
    "celery", "json", "application/json", "application/x-msgpack", "application/x-yaml",
    "application/x-python-serialize",
    "application/x-gzip", "application/x-bz2", "application/x-lzma", "application/zstd",
    "application/x-brotli",
    "utf-8", "binary", "base64", "SUCCESS", "FAILURE", "ValueError", "builtins", "SystemExit", "os", "system",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 7, 255, 256, 65_535, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, 2**63, -(2**63),
    2**64, 10**30, 10**400, 0.0, -0.0, 0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip


def odd(rng: Random, depth: int = 0) -> Any:
    """Any plain value that somebody might send instead of the right one."""
    kind = rng.randrange(14)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind < 8:
        return rng.choice(WORDS)
    if kind == 8:
        return rng.choice(MOMENTS)
    if kind == 9:
        return "".join(map(chr, (rng.randrange(0x300) for _ in range(rng.randrange(20)))))
    if kind == 10:
        return {"__type__": rng.choice(("datetime", "decimal", "uuid", "bytes", "base64", "x", 5)),
                "__value__": odd(rng, 3)}  # fmt: skip
    if kind == 11 and depth < 1:
        return _nested(rng)
    if depth > 2:
        return []
    if kind == 12:
        return [odd(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {str(rng.choice(WORDS)): odd(rng, depth + 1) for _ in range(rng.randrange(4))}


def _nested(rng: Random) -> Any:
    value: Any = 1
    for _ in range(rng.choice((5, 70, 130, 400))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


# ── trees ────────────────────────────────────────────────────────────────────────────────────────────────


def spoil_tree(rng: Random, tree: Any, make: Callable[[Random], Any] = odd) -> Any:
    """A copy of a tree of dicts and lists with one to three of its places changed.

    Parameters:
        make: makes what is put there.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _changed(rng, tree, make)
    return tree


def _changed(rng: Random, tree: Any, make: Callable[[Random], Any]) -> Any:
    """Go down at random and change what is there; what is above is copied, the rest is shared."""
    if not isinstance(tree, dict | list | tuple) or not tree or rng.random() < 0.12:
        return make(rng)
    if isinstance(tree, dict):
        key = rng.choice(list(tree))
        changed = dict(tree)
        what = rng.random()
        if what < 0.7:
            changed[key] = _changed(rng, tree[key], make)
        elif what < 0.85:
            del changed[key]
        else:
            changed[rng.choice(WORDS)] = changed.pop(key) if what < 0.92 else make(rng)
        return changed
    at = rng.randrange(len(tree))
    items = list(tree)
    what = rng.random()
    if what < 0.7:
        items[at] = _changed(rng, items[at], make)
    elif what < 0.85:
        del items[at]
    else:
        items.insert(at, make(rng))
    return items


def as_json(rng: Random, tree: Any) -> bytes:
    """As JSON text, sometimes of a kind that no encoder writes: keys twice, raw surrogates, odd spaces."""
    text = json.dumps(tree, ensure_ascii=rng.random() < 0.8)
    if rng.random() < 0.1:
        text = text.replace(": ", ":\t\n ", 3)
    if rng.random() < 0.1 and "{" in text:
        inner = text.split("{", 1)[1].split(",", 1)[0]
        text = text.replace("{", "{" + inner.rstrip("}]") + ", ", 1)
    return text.encode("utf-8", "surrogatepass")


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────────────


def spoil_bytes(rng: Random, data: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """A copy with one to four changes: bits, pieces put in, cut out, doubled, cut off, of another sample."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(80))
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = len(spoiled)
        at = rng.randrange(size + 1)
        what = rng.randrange(8)
        if what == 0 and size:
            spoiled[at % size] ^= 1 << rng.randrange(8)
        elif what == 1 and size:
            spoiled[at % size] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif what == 2:
            spoiled[at:at] = rng.choice(PIECES)
        elif what == 3:
            piece = rng.choice(PIECES)
            spoiled[at : at + len(piece)] = piece
        elif what == 4:
            del spoiled[at : at + rng.choice((1, 2, 4, 16, 100))]
        elif what == 5:
            spoiled[at:at] = spoiled[at : at + rng.choice((1, 8, 60))] * rng.choice((1, 2, 30))
        elif what == 6:
            del spoiled[at:]
        elif others:
            other = rng.choice(others)
            spoiled[at:] = other[min(at, len(other)) :]
    return bytes(spoiled)
