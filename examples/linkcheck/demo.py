"""``make demo``: check a real manual, served late on purpose, and compare with one address at a time."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from examples.linkcheck import fetch, pages
from examples.linkcheck.check import CannotCheck, Check
from examples.linkcheck.ledger import DeadLink
from examples.linkcheck.openfiles import allow
from examples.linkcheck.progress import Progress
from examples.linkcheck.report import Report
from examples.linkcheck.server import LocalServer
from examples.linkcheck.workerprocess import WorkerDied
from greenq.errors import GreenqError

__all__ = ["PLANTED", "build_site", "find_pages", "main"]

_WANTED = Path("/usr/share/doc/python3.11/html")
_ELSEWHERE = Path("/usr/share/doc")
_SPARE_FILES = 500

PLANTED = {
    "missing.html": "404 Not Found",
    "greenq/no-such-page.html": "404 Not Found",
    "greenq/index.html#no-such-anchor": "no such anchor on the page",
    "pictures/missing.png": "404 Not Found",
    "other/no-such-directory/": "404 Not Found",
}
"""The links that the demo's first page has on purpose, and what a check must say of each."""


def find_pages(wanted: Path = _WANTED, elsewhere: Path = _ELSEWHERE) -> Path | None:
    """The installed manual to check: the wanted one, else the one with most pages, else None."""
    if (wanted / "index.html").is_file():
        return wanted
    manuals = {path.parent: 0 for path in elsewhere.glob("**/index.html")}
    for manual in manuals:
        manuals[manual] = sum(1 for _ in manual.rglob("*.html"))
    return max(manuals, key=lambda manual: manuals[manual], default=None)


def build_site(site: Path, manual: Path, other: Path | None) -> None:
    """Make a directory that holds both manuals and a first page with dead links.

    Parameters:
        site: the directory, empty.
        manual: greenq's own, built.
        other: the installed one.
    """
    (site / "greenq").symlink_to(manual.resolve())
    good = ["greenq/index.html"]
    if other is not None:
        (site / "other").symlink_to(other.resolve())
        good.append("other/index.html")
    links = "".join(f'<li><a href="{link}">{link}</a></li>\n' for link in (*good, *PLANTED))
    (site / "index.html").write_text(f"<!doctype html><title>Two manuals</title><ul>\n{links}</ul>\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 if everything that was planted was found, 1 if not, 2 or 130 if it could not end.

    Parameters:
        arguments: instead of the command line's.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(options)
    except (CannotCheck, GreenqError, WorkerDied, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    other = options.pages or find_pages()
    beside = f"and {other}" if other else "alone, as no other manual is installed here"
    print(f"Serving greenq's own manual {beside}, each answer {options.latency * 1000:.0f} ms late.")
    if options.pages is None and other != _WANTED:
        print("(python3.11-doc, which this demo is meant for, is not installed.)")
    allow(options.concurrency + _SPARE_FILES)
    with tempfile.TemporaryDirectory(prefix="linkcheck-demo-") as scratch:
        site = Path(scratch)
        build_site(site, options.manual, other)
        with LocalServer(site, options.latency) as server:
            return _demonstrate(server.url, options)


def _demonstrate(url: str, options: argparse.Namespace) -> int:
    worker = ["-A", "examples.linkcheck.tasks", "--pool", "gevent", "-c", str(options.concurrency)]
    print(f"Checking every link of it with: greenq worker {' '.join(worker)}", flush=True)
    progress = Progress(sys.stderr)
    with Check(url, worker) as check:
        from examples.linkcheck.crawl import Rules

        report = check.run(Rules(at_once=4000), progress.show)
        progress.clear()
        sample = check.ledger.sample(options.sample)
    counts = json.loads(fetch.fetch(f"{url}-/counts", 10).body)
    print(f"\n{report.relative_to(url).text()}\n", flush=True)
    _compare(report, sample, counts["most_connections"])
    return _judge(report.relative_to(url).dead)


def _compare(report: Report, sample: list[str], most_at_once: int) -> None:
    """Check a sample with the same code in a plain loop, and say what all would have taken so.

    Parameters:
        most_at_once: how many connections the server had at once while greenq checked.
    """
    began = time.monotonic()
    for number, url in enumerate(sample, 1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\rone at a time, for comparison: {number} of {len(sample)}\033[K")
        answer = fetch.fetch(url, 10)
        if answer.kind == "text/html":
            pages.read(pages.text_of(answer.body, answer.charset), answer.url)
    each = (time.monotonic() - began) / len(sample)
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
    alone = each * report.totals.tries
    print(
        f"One at a time: {each * 1000:.0f} ms each, measured on {len(sample)} of them; "
        f"all {report.totals.tries:,} would take {alone:.0f} s.\n"
        f"greenq, with up to {most_at_once:,} requests at once, took {report.seconds:.1f} s, "
        f"the worker's start included: {alone / report.seconds:.0f} times as fast."
    )


def _judge(dead: Sequence[DeadLink]) -> int:
    """Say whether everything that was planted was found, for the reason it was planted."""
    found = {link.url: link.problem for link in dead}
    missed = [url for url, problem in PLANTED.items() if found.get(url) != problem]
    if missed:
        print(f"but these dead links were planted and not found: {', '.join(missed)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.linkcheck.demo", description=__doc__)
    parser.add_argument("manual", type=Path, help="greenq's manual, built")
    parser.add_argument("--pages", type=Path, metavar="DIR", help="a manual to check beside it")
    parser.add_argument("--latency", type=float, default=0.1, metavar="SECONDS")
    parser.add_argument("--concurrency", type=int, default=1000, metavar="N")
    parser.add_argument("--sample", type=int, default=50, metavar="N", help="addresses checked one at a time")
    return parser


if __name__ == "__main__":
    sys.exit(main())
