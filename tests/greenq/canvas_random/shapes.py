"""Random workflows: made, evaluated by themselves, and as signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

from greenq.canvas import chain, chord, group

__all__ = ["Failed", "Shape", "digest", "make"]

DEEPEST = 5
RETRIES = 2


class Failed(Exception):
    """A workflow, or a part of one, failed; its argument is the name of the exception."""


def digest(*values: Any) -> int:
    """What a task returns: it depends on all that it was given, in its order."""
    return crc32(repr(values).encode())


@dataclass
class Shape:
    """A workflow, or a part of one.

    Parameters:
        kind: ``call``, ``retried``, ``failing``, ``chain``, ``group`` or ``chord``.
        number: of a call; no other has it.
        parts: of a chain its steps, of a group its members, of a chord its members and then its body.
    """

    kind: str
    number: int = 0
    parts: list[Shape] = field(default_factory=list)

    def value(self, given: tuple[Any, ...], runs: Counter[int]) -> Any:
        """What it comes to, given what came before; counts how often each call runs.

        Raises:
            Failed: it does.
        """
        if self.kind == "chain":
            for part in self.parts:
                given = (part.value(given, runs),)
            return given[0]
        if self.kind == "group":
            return self._all(self.parts, given, runs)
        if self.kind == "chord":
            return self.parts[-1].value((self._all(self.parts[:-1], given, runs),), runs)
        runs[self.number] += 1 + RETRIES * (self.kind == "retried")
        if self.kind == "failing":
            raise Failed("ValueError")
        return digest(*given, self.number)

    @staticmethod
    def _all(parts: list[Shape], given: tuple[Any, ...], runs: Counter[int]) -> list[Any]:
        """The values of members: all are run, whichever fails."""
        values, failed = [], False
        for part in parts:
            try:
                values.append(part.value(given, runs))
            except Failed:
                failed = True
        if failed:
            raise Failed("ChordError")
        return values

    def signature(self, call: Callable[[str, int], Any]) -> Any:
        """It as a signature; `call` makes those of single tasks."""
        if self.kind == "chain":
            return chain(*(part.signature(call) for part in self.parts))
        if self.kind == "group":
            return group(*(part.signature(call) for part in self.parts))
        if self.kind == "chord":
            *members, body = [part.signature(call) for part in self.parts]
            return chord(members, body)
        return call(self.kind, self.number)


class Maker:
    """Makes shapes from a source of randomness; a group is always followed by something."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers = 0

    def call(self) -> Shape:
        self._numbers += 1
        kind = self._random.choices(("call", "retried", "failing"), (20, 3, 1))[0]
        return Shape(kind, self._numbers)

    def some(self, depth: int) -> list[Shape]:
        return [self.any(depth + 1) for _ in range(self._random.randint(2, 3))]

    def any(self, depth: int = 0) -> Shape:
        kind = self._random.choice(("call", "chain", "chord"))
        if kind == "call" or depth >= DEEPEST:
            return self.call()
        if kind == "chord":
            return Shape("chord", parts=[*self.some(depth), self.body(depth + 1)])
        steps = []
        for _ in range(self._random.randint(1, 3)):
            grouped = self._random.random() < 0.3
            steps.append(Shape("group", parts=self.some(depth + 1)) if grouped else self.any(depth + 1))
            if grouped:
                steps.append(self.call())
        return Shape("chain", parts=[*steps, self.call()])

    def body(self, depth: int) -> Shape:
        return self.call() if self._random.random() < 0.6 else self.any(depth)


def make(seed: int) -> Shape:
    """The shape of a number."""
    return Maker(Random(seed)).any()
