"""Run faults against one broker and pool, long or short, and say what became of the tasks."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator

from tests.chaos.amnesia import forget_everything
from tests.chaos.checker import Report
from tests.chaos.clocks import step_clocks
from tests.chaos.commands import CONCURRENCY
from tests.chaos.crashes import crash_everywhere
from tests.chaos.kills import Kills, kill_at_random
from tests.chaos.longer import outlast_leases
from tests.chaos.pauses import pause_at_random
from tests.chaos.sites import BROKERS
from tests.chaos.terms import stop_at_random

__all__ = ["main"]

COLUMNS = ("scenario", "tasks", "struck", "lost", "failed", "again", "no cause", "refused", "slowest", "took")


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; 1 if anything went wrong that greenq promises never does."""
    given = parse(arguments)
    print(f"{given.broker}, {given.pool}")
    print("".join(f"{column:>12}" for column in COLUMNS))
    wrong = 0
    for name, run in chosen(given):
        began = time.monotonic()
        report = run()
        print(row(name, report, time.monotonic() - began), flush=True)
        for problem in report.problems:
            print(f"    {name}: {problem}", flush=True)
        wrong += bool(report.problems)
    return int(wrong > 0)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--broker", choices=BROKERS, required=True)
    parser.add_argument("--pool", choices=list(CONCURRENCY), required=True)
    parser.add_argument("--kills", type=int, default=0, help="random SIGKILLs")
    parser.add_argument("--tasks", type=int, default=50_000, help="calls sent while that goes on")
    parser.add_argument("--terms", type=int, default=0, help="SIGTERMs at random moments")
    parser.add_argument("--stops", type=int, default=0, help="SIGSTOPs for longer than the lease")
    parser.add_argument("--clocks", type=int, default=0, help="steps of the wall clock")
    parser.add_argument("--amnesia", type=int, default=0, help="restarts of the broker that lose all it had")
    parser.add_argument("--long", action="store_true", help="tasks ten leases long")
    parser.add_argument("--failpoints", action="store_true", help="a crash at every named place")
    parser.add_argument("--slack", type=float, default=0.0, help="seconds by which bounds may be missed")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def chosen(given: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Report]]]:
    """The scenarios that were asked for, by name."""
    place = (given.broker, given.pool)
    if given.kills:
        plan = Kills(*place, given.kills, given.tasks, given.seed, given.slack)
        yield "kills", lambda: kill_at_random(plan)
    if given.failpoints:
        if given.broker != "amqp":
            yield "fused", lambda: crash_everywhere(*place, True, given.slack)
        yield "separate", lambda: crash_everywhere(*place, False, given.slack)
    if given.terms:
        yield "terms", lambda: stop_at_random(*place, given.terms, given.seed, given.slack)
    if given.stops:
        yield "stops", lambda: pause_at_random(*place, given.stops, given.seed)
    if given.clocks:
        yield "clocks", lambda: step_clocks(*place, given.clocks)
    if given.amnesia and given.broker != "sqlite":
        yield "amnesia", lambda: forget_everything(*place, given.amnesia)
    if given.long:
        yield "long", lambda: outlast_leases(*place)


def row(name: str, report: Report, seconds: float) -> str:
    """One line of the table."""
    slowest = max(report.slowest.values(), default=0.0)
    values = (
        name, report.confirmed, report.faults, len(report.lost), len(report.failed), len(report.caused),
        len(report.uncaused), report.refused, f"{slowest:.2f} s", f"{seconds:.0f} s",
    )  # fmt: skip
    return "".join(f"{value:>12}" for value in values)


if __name__ == "__main__":
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
