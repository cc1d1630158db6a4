"""Random workflows: made, evaluated by themselves, and as signatures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zlib import crc32

from greenq.canvas import chain, chord, group

__all__ = ["ERRBACKS", "RETRIES", "Failed", "Shape", "digest", "make"]

DEEPEST = 5
RETRIES = 2
ERRBACKS = 1000
"""An errback's number is that of its call, and this."""


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
        errback: of a failing call: ``sent`` gets the call's id in a message, ``told`` is called where it
            failed; or none.
        parts: of a chain its steps, of a group its members, of a chord its members and then its body.
    """

    kind: str
    number: int = 0
    errback: str = ""
    parts: list[Shape] = field(default_factory=list)

    def value(self, given: tuple[Any, ...], runs: Counter[int]) -> Any:
        """What it comes to, given what came before; counts how often each call and each errback runs.

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
            if self.errback:
                runs[self.number + ERRBACKS] += 1
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

    def expectation(self) -> tuple[Any, Counter[int]]:
        """What it comes to, or the name of its exception; and how often each part of it runs."""
        runs: Counter[int] = Counter()
        try:
            return self.value((), runs), runs
        except Failed as failed:
            return failed.args[0], runs

    def unjudged(self, runs: Counter[int]) -> set[int]:
        """The errbacks of calls that never run: a chord's body calls them where its header failed."""
        return {call.number + ERRBACKS for call in self.calls() if not runs[call.number]}

    def calls(self) -> list[Shape]:
        """All single calls in it."""
        return [self] if not self.parts else [call for part in self.parts for call in part.calls()]

    def after_bodies(self, bodies: set[int], after: bool = False) -> bool:
        """Add the numbers of the calls that a chord's body is or sends; whether what follows it is such."""
        if not self.parts:
            if after:
                bodies.add(self.number)
            return after
        if self.kind == "chain":
            for part in self.parts:
                after = part.after_bodies(bodies, after)
            return after
        for part in self.parts:
            part.after_bodies(bodies, after or (self.kind == "chord" and part is self.parts[-1]))
        return True

    def signature(self, call: Callable[[Shape], Any]) -> Any:
        """It as a signature; `call` makes those of single tasks."""
        if self.kind == "chain":
            return chain(*(part.signature(call) for part in self.parts))
        if self.kind == "group":
            return group(*(part.signature(call) for part in self.parts))
        if self.kind == "chord":
            *members, body = [part.signature(call) for part in self.parts]
            return chord(members, body)
        return call(self)


class Maker:
    """Makes shapes from a source of randomness; a group is always followed by something."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers = 0

    def call(self) -> Shape:
        self._numbers += 1
        kind = self._random.choices(("call", "retried", "failing"), (20, 3, 1))[0]
        errback = self._random.choice(("", "sent", "told")) if kind == "failing" else ""
        return Shape(kind, self._numbers, errback)

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
