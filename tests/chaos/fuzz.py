"""Spoil everything that arrives from outside, and see that each input ends once and in a way that is told.

    python -m tests.chaos.fuzz --inputs 1000000 --seed 7
    python -m tests.chaos.fuzz --seed 7 --kind redis --number 4711

The first way prints how the inputs ended and what went wrong, and exits with 1 if anything did; the second
judges one input again and shows it. Most inputs go to the readers alone; `--messages` of them are put into
the queues of real servers, under a worker at work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.accounts import put_into
from tests.fuzz.child import NUMBER
from tests.fuzz.queues import QUEUES
from tests.fuzz.readers import READERS
from tests.fuzz.search import Find, Report, input_of, numbers, search

__all__ = ["main"]

SLICE = 25_000
"""Inputs that one process judges."""
LONGEST = 3000.0
"""Seconds that one slice may take: many times as long as it does."""


def judge_slice(kind: str, seed: int, first: int, after: int, folder: Path) -> tuple[Report, float]:
    """Judge one slice in a process of its own; also how much memory (MiB) that took."""
    page = folder / "number"
    page.write_bytes(NUMBER.pack(first))
    command = [sys.executable, "-m", "tests.fuzz.child", kind, str(seed), str(first), str(after), str(page)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
        problem = done.stderr[-3000:] if done.returncode else ""
        ended = f"it ended with {done.returncode}"
    except subprocess.TimeoutExpired:
        problem, ended = "", f"it hung for {LONGEST} s"
    else:
        if not done.returncode:
            return _report(json.loads(done.stdout))
    (number,) = NUMBER.unpack(page.read_bytes())
    given = f"{input_of(kind, seed, number)!r:.3000}"
    return Report(number - first + 1, {}, [Find(kind, number, f"{ended}\n{problem}", given)]), 0.0


def _report(told: dict[str, Any]) -> tuple[Report, float]:
    ends = {kind: Counter(some) for kind, some in told["ends"].items()}
    finds = [Find(**find) for find in told["finds"]]
    return Report(told["count"], ends, finds, told["slowest"]), told["peak"]


def judge_all(inputs: int, seed: int, kinds: list[str]) -> bool:
    """Judge many inputs and print what became of them; True if all is well."""
    begun = time.monotonic()
    total, most = Report(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind, count in numbers(inputs, kinds):
            for first in range(0, count, SLICE):
                report, memory = judge_slice(kind, seed, first, min(first + SLICE, count), Path(folder))
                total.add(report)
                most = max(most, memory)
            told = ", ".join(f"{n} {end}" for end, n in total.ends.get(kind, Counter()).most_common())
            print(f"{kind:8} {count:8}: {told}", flush=True)
    for find in total.finds:
        print(f"\n{find.kind} {find.number} (--seed {seed}): {find.problem}\n{find.given}")
    print(
        f"{total.count} inputs of seed {seed} in {time.monotonic() - begun:.0f} s, the slowest took "
        f"{total.slowest:.2f} s, the most memory was {most:.0f} MiB: {len(total.finds)} finds"
    )
    return not total.finds


def judge_queues(messages: int, seed: int, brokers: list[str]) -> bool:
    """Put messages into the queues of real servers; True if all is well."""
    well = True
    for broker in brokers:
        with tempfile.TemporaryDirectory(prefix="greenq-fuzz-") as folder:
            try:
                print(
                    f"{broker:8} {put_into(broker, messages // len(brokers), seed, Path(folder))}", flush=True
                )
            except AssertionError as problem:
                print(f"{broker:8} (--seed {seed}): {problem}", flush=True)
                well = False
    return well


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="tests.chaos.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--broker", action="append", choices=list(QUEUES))
    parser.add_argument("--kind", action="append", choices=list(READERS))
    parser.add_argument("--number", type=int, help="judge this input of one kind again")
    given = parser.parse_args(arguments)
    kinds = given.kind or list(READERS)
    if given.number is not None:
        print(repr(input_of(kinds[0], given.seed, given.number)))
        report = search(kinds[0], given.seed, given.number, given.number + 1)
        print(report.ends, *(find.problem for find in report.finds), sep="\n")
        return bool(report.finds)
    well = not given.inputs or judge_all(given.inputs, given.seed, kinds)
    if given.messages and not given.kind:
        well = judge_queues(given.messages, given.seed, given.broker or list(QUEUES)) and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
