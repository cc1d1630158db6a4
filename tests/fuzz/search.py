"""Go through many inputs, each made from the seed and its number, and keep what went wrong."""

from __future__ import annotations

import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import Any

from tests.fuzz.readers import READERS

__all__ = ["Find", "Report", "input_of", "numbers", "search"]

LONGEST = 5.0
"""Seconds that one input may take."""


class Hung(BaseException):
    """An input took too long."""


@dataclass
class Find:
    """Something that should not have happened.

    Parameters:
        number: together with the seed it makes the input again.
    """

    kind: str
    number: int
    problem: str
    given: str


@dataclass
class Report:
    """What became of many inputs."""

    count: int = 0
    ends: dict[str, Counter[str]] = field(default_factory=dict)
    finds: list[Find] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, other: Report) -> None:
        """Take in another one."""
        self.count += other.count
        for kind, ends in other.ends.items():
            self.ends.setdefault(kind, Counter()).update(ends)
        self.finds += other.finds
        self.slowest = max(self.slowest, other.slowest)


def input_of(kind: str, seed: int, number: int) -> Any:
    """Make one input."""
    return READERS[kind].make(Random(f"{seed} {kind} {number}"))


def numbers(inputs: int, kinds: list[str]) -> Iterator[tuple[str, int]]:
    """How many inputs each kind gets."""
    shares = {kind: READERS[kind].share for kind in kinds}
    for kind, share in shares.items():
        yield kind, max(1, inputs * share // sum(shares.values()))


def search(
    kind: str, seed: int, first: int, after: int, note: Callable[[int], None] | None = None, most: int = 20
) -> Report:
    """Judge the inputs of one kind from number `first` up to `after`.

    Parameters:
        note: told the number of each input before it is judged.
        most: finds after which it gives up.
    """
    report = Report()
    ends = report.ends[kind] = Counter()
    before = signal.signal(signal.SIGALRM, _hung)
    try:
        for number in range(first, after):
            if note is not None:
                note(number)
            given = None
            begun = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, LONGEST)
            try:
                given = input_of(kind, seed, number)
                ends[READERS[kind].judge(given)] += 1
            except BaseException as error:
                signal.setitimer(signal.ITIMER_REAL, 0)
                if isinstance(error, KeyboardInterrupt):
                    raise
                problem = "".join(traceback.format_exception(error)[-4:])
                report.finds.append(Find(kind, number, problem, f"{given!r:.3000}"))
                if len(report.finds) >= most:
                    break
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                report.slowest = max(report.slowest, time.perf_counter() - begun)
                report.count += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return report


def _hung(signum: int, frame: FrameType | None) -> None:
    raise Hung(f"an input took more than {LONGEST} s")
