"""Let a broker fail again and again under a worker at work, and compare what was sent with what was done.

Run it as ``python -m tests.chaos.faults --broker redis --kind reset --times 50``; it prints a table and exits
with 1 if anything was lost, stuck, late or growing.
"""

from __future__ import annotations

import argparse
import sys

from tests.chaos.scene import HEADING, Scene
from tests.chaos.stages import STAGES, Stage, kinds

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Carry out what the command line says; 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.faults", description=__doc__)
    parser.add_argument("--broker", choices=STAGES, action="append", help="all if not given")
    parser.add_argument("--kind", action="append", help="all that the broker has if not given")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=300, help="tasks in a second")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds that a task takes at most")
    parser.add_argument("--hold", type=float, nargs=2, default=(0.3, 6.0), help="seconds that a fault lasts")
    parser.add_argument("--pool", default="gevent")
    given = parser.parse_args(arguments)
    print(HEADING, flush=True)
    failed = False
    for name in given.broker or list(STAGES):
        stage = STAGES[name]()
        try:
            for kind in kinds(name, stage, given.kind or []):
                failed = _one(name, stage, kind, given) or failed
        finally:
            stage.close()
    return int(failed)


def _one(name: str, stage: Stage, kind: str, given: argparse.Namespace) -> bool:
    """All faults of one kind; True if something was wrong."""
    scene = Scene(name, stage, given.concurrency, given.rate, given.longest, given.pool)
    try:
        report = scene.faults(kind, given.times, tuple(given.hold))
    finally:
        code = scene.close()
    report.code = code
    if code != 0:
        report.problems.append("the worker did not end as it should")
    print(report.line(), flush=True)
    if report.problems:
        print(f"  the worker's log: {scene.log}", flush=True)
        for text, count in sorted(scene.load.errors.items()):
            print(f"  {count} times {text}", flush=True)
    return bool(report.problems)


if __name__ == "__main__":
    sys.exit(main())
