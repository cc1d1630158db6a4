"""Encoded results for conformance suites."""

from __future__ import annotations

import json
from typing import Any, cast

from greenq.message import Result
from greenq.results.base import ResultStore

__all__ = ["decode", "encode", "encoded"]


def encode(record: dict[str, Any]) -> bytes:
    """Turn a result record into bytes, as an application would."""
    return json.dumps(record).encode()


def decode(payload: bytes) -> dict[str, Any]:
    """Undo `encode`."""
    return cast("dict[str, Any]", json.loads(payload))


def encoded(
    store: ResultStore, id: str, state: str = "SUCCESS", value: Any = None, expires: float | None = None
) -> Result:
    """Make a result that is ready to be stored."""
    result = Result(id, state, value, expires=expires)
    store.encode(result)
    return result
