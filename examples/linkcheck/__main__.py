"""The command ``python -m examples.linkcheck``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable

from examples.linkcheck.check import CannotCheck, Check
from examples.linkcheck.openfiles import allow
from examples.linkcheck.progress import Progress
from examples.linkcheck.report import Report
from examples.linkcheck.workerprocess import WorkerDied
from greenq.errors import GreenqError

__all__ = ["main"]

_SPARE_FILES = 64


def main(arguments: list[str] | None = None) -> int:
    """Check, print the report, and return 0 (no dead link), 1 (dead links), 2 (could not check) or 130.

    Parameters:
        arguments: instead of the command line's.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress(sys.stderr)
    try:
        report = _check(options, progress)
    except (CannotCheck, GreenqError, WorkerDied, OSError) as error:
        progress.clear()
        print(f"linkcheck: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        progress.clear()
        print("linkcheck: stopped", file=sys.stderr)
        return 130
    progress.clear()
    print(json.dumps(report.json(), indent=2) if options.json else report.text())
    return 1 if report.dead else 0


def _check(options: argparse.Namespace, progress: Progress) -> Report:
    worker = None
    if options.worker:
        _refuse_few_files(options.concurrency)
        worker = ["--app", "examples.linkcheck.tasks", "--pool", options.pool]
        worker += ["--concurrency", str(options.concurrency), "--processes", str(options.processes)]
    with Check(options.target, worker) as check:
        from examples.linkcheck.crawl import Rules

        rules = Rules(
            timeout=options.timeout,
            tries=options.tries,
            at_once=min(4000, 2 * options.concurrency * options.processes),
            external=options.external,
            per_host=options.per_host,
        )
        return check.run(rules, progress.show)


def _refuse_few_files(concurrency: int) -> None:
    allowed = allow(concurrency + _SPARE_FILES)
    if allowed < concurrency + _SPARE_FILES:
        raise CannotCheck(
            f"{concurrency} connections at once need more open files than the {allowed} allowed here: "
            f"raise the limit (ulimit -Hn), or give --concurrency {max(1, allowed - _SPARE_FILES)}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.linkcheck",
        description="Check every link of a site or a directory of HTML pages with greenq.",
        epilog="Exit code: 0 no dead link, 1 dead links, 2 could not check.",
    )
    parser.add_argument("target", help="a directory of HTML pages, or an address")
    parser.add_argument(
        "-c",
        "--concurrency",
        type=_at_least(1),
        default=1000,
        metavar="N",
        help="checks at once in each process (%(default)s)",
    )
    parser.add_argument(
        "--processes", type=_at_least(1), default=1, metavar="N", help="worker processes (%(default)s)"
    )
    parser.add_argument("--pool", default="gevent", metavar="NAME", help="the worker's pool (%(default)s)")
    parser.add_argument(
        "--no-worker",
        dest="worker",
        action="store_false",
        help="start no worker: some run already with this configuration",
    )
    parser.add_argument(
        "--external", action="store_true", help="check outside addresses too, instead of listing how many"
    )
    parser.add_argument(
        "--per-host",
        type=_at_least(1),
        default=2,
        metavar="N",
        help="requests at once to one outside host (%(default)s)",
    )
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="for one request (%(default)s)"
    )
    parser.add_argument(
        "--tries",
        type=_at_least(1),
        default=3,
        metavar="N",
        help="requests while failures look passing (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="report as JSON")
    return parser  # fmt: skip


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
