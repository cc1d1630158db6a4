"""Runs Celery's own integration suite against one worker in a process of its own, and compares.

``python -m tests.celery_suite [--worker greenq|celery|both] [-c 100] [--pool gevent] [test_canvas.py]``

The worker is greenq's, or Celery's own gevent worker to compare with. The suite comes from PyPI and is kept
outside of the repository, as are the outcomes of both workers. Tests that cannot be asked of a worker in
another process are left out, each with its reason (`tests/celery_suite/left_out.py`). A test that failed is
repeated alone, with a new worker and an empty server, for both workers alike. Options go to pytest.

It exits with 1 if greenq's worker misses a test that Celery's passes with as many slots, or if one of the
worker's processes died; without outcomes of Celery's worker, if any test failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.celery_suite.download import environment, place, suite
from tests.celery_suite.left_out import FEW_SLOTS, FILES, LEFT_OUT
from tests.celery_suite.outcomes import Outcomes, missed, table
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]
LONGEST = 300
"""Seconds that a test may take, as the suite's own mark says for most of them."""


def command_of(worker: str, pool: str, concurrency: int) -> str:
    """The command that starts the worker."""
    application = "tests.celery_suite.application:app"
    if worker == "greenq":
        return f"{sys.executable} -m greenq worker -A {application} --pool {pool} -c {concurrency}"
    return f"{sys.executable} -m celery -A {application} worker -P {pool} -c {concurrency} -l INFO -E"


def run(worker: str, given: argparse.Namespace, arguments: list[str], found: Outcomes) -> None:
    """Run tests with an empty server and a new worker.

    Parameters:
        arguments: of pytest.
        found: gets the outcomes.
    """
    directory = suite()
    log = given.log or str(place() / f"{worker}-c{given.concurrency}.log")
    server = RedisServer()
    url = f"redis://127.0.0.1:{server.port}"
    with tempfile.NamedTemporaryFile("r", prefix="celery-suite-") as written:
        variables = os.environ | {
            "TEST_BROKER": f"{url}/0", "TEST_BACKEND": f"{url}/0", "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(server.port), "C_FORCE_ROOT": "1", "SUITE_LOG": log,
            "SUITE_WORKER": command_of(worker, given.pool, given.concurrency),
            "SUITE_OUTCOMES": written.name, "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}",
        }  # fmt: skip
        print(f"the log of the worker: {log}", flush=True)
        try:
            subprocess.run(
                [
                    str(environment()), "-m", "pytest", "-p", "celery.contrib.pytest",
                    "-p", "tests.celery_suite.plugin", "-ra", "-q", "--tb=short",
                    "--rootdir", str(directory), "-o", "cache_dir=.pytest_cache",
                    "-o", "xfail_strict=false", f"--timeout={LONGEST}",
                    *arguments,
                ],
                cwd=directory, env=variables,
            )  # fmt: skip
        finally:
            server.stop()
        found.read(Path(written.name))


def play(worker: str, given: argparse.Namespace, chosen: list[str], options: list[str]) -> Outcomes:
    """Run the chosen tests against a worker, those that fail once more alone, and keep what came of it."""
    tests = [*LEFT_OUT, *(FEW_SLOTS if given.concurrency > 4 else ())]
    left_out = [] if given.all else [f"--deselect=t/integration/{test}" for test in tests]
    left_out += [] if given.all else [f"--ignore=t/integration/{file}" for file in FILES]
    found = Outcomes()
    # One repetition in the whole run; what fails then has those that the suite itself allows, alone.
    hurried = ["--force-reruns=1", "--reruns-delay=2"]
    run(worker, given, [*hurried, *options, *left_out, *chosen], found)
    for test in found.failed:
        print(f"once more, alone: {test}", flush=True)
        run(worker, given, [*options, f"t/integration/{test}"], found)
    found.keep(kept(worker, given))
    return found


def kept(worker: str, given: argparse.Namespace) -> Path:
    """Where a worker's outcomes are kept."""
    return place() / "outcomes" / f"{worker}-{given.pool}-c{given.concurrency}.json"


def verdict(given: argparse.Namespace, found: dict[str, Outcomes]) -> int:
    """Print the comparison; the exit code."""
    if (played := found.get("greenq")) is None:
        print(table({}, found["celery"].tests))
        return 0
    theirs = found.get("celery") or Outcomes.kept(kept("celery", given))
    known = {test: theirs.tests[test] for test in played.tests if test in theirs.tests}
    print(table(played.tests, known))
    print("\n".join(played.deaths) or "no process of the worker died")
    failed = missed(played.tests, known) if known else played.failed
    return 1 if failed or played.deaths or not played.tests else 0


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.celery_suite")
    parser.add_argument("--worker", choices=("greenq", "celery", "both"), default="greenq")
    parser.add_argument("-c", "--concurrency", type=int, default=100)
    parser.add_argument("--pool", default="gevent")
    parser.add_argument("--log", help="a file for what the worker prints")
    parser.add_argument("--all", action="store_true", help="also what is usually left out")
    given, rest = parser.parse_known_args()
    chosen = [f"t/integration/{one}" for one in rest if one.startswith("test_")] or ["t/integration"]
    options = [one for one in rest if not one.startswith("test_")]
    workers = ("celery", "greenq") if given.worker == "both" else (given.worker,)
    return verdict(given, {worker: play(worker, given, chosen, options) for worker in workers})


if __name__ == "__main__":
    sys.exit(main())
