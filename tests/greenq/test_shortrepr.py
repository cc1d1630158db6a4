"""Text of values: bounded in length, depth and cost, and never failing."""

from __future__ import annotations

from typing import Any

import pytest

from greenq.shortrepr import shortrepr


@pytest.mark.parametrize(
    "value",
    [(), {}, (1,), (1, 2.5, None, True), ("a'b", 'c"d'), {"a": 1, "b": "x"}, [1, [2, [3]]], {"a": {"b": {1}}},
     (b"ab", frozenset({1}), set()), "text", 5, (object,), [()]],
)  # fmt: skip
def test_small_values_are_shown_as_repr_does(value: Any) -> None:
    assert shortrepr(value) == repr(value)


class Rude:
    def __repr__(self) -> str:
        raise ValueError("no")


class Long:
    def __repr__(self) -> str:
        return "x" * 100_000


@pytest.mark.parametrize(
    "value",
    [("x" * 10_000_000,), ["x" * 500] * 1000, {"k" * 5000: "v" * 5000}, list(range(10**6)), (Long(), Long()),
     {n: n for n in range(10**5)}, (10**10000,), b"\x00" * 10**7, tuple("ab" * 5000), ("x" * 300,) * 5,
     {"a": "\x00" * 1000}],
)  # fmt: skip
def test_large_values_are_cut(value: Any) -> None:
    text = shortrepr(value)
    assert len(text) < 5000
    assert "..." in text or "<int" in text


def test_deep_values_are_cut() -> None:
    assert shortrepr([[[[1]]]]) == "[[[[...]]]]"
    endless: list[Any] = []
    endless.append(endless)
    assert "..." in shortrepr(endless)


def test_a_repr_that_fails_is_told() -> None:
    assert shortrepr((Rude(),)) == "(<Rude whose repr raises ValueError>,)"
    assert shortrepr((1, 10**10000)) == "(1, <int whose repr raises ValueError>)"
