"""Runs Celery's own integration suite against one worker in a process of its own.

``python -m tests.celery_suite [--worker greenq|celery] [-c 100] [--pool gevent] [test_canvas.py] [options]``

The worker is greenq's, or Celery's own gevent worker to compare with. The suite comes from PyPI and is kept
outside of the repository. Tests that cannot be asked of a worker in another process are left out, each with
its reason (`tests/celery_suite/left_out.py`); all others have to pass.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.celery_suite.download import environment, suite
from tests.celery_suite.left_out import BUSY, FILES, LEFT_OUT
from tests.servers import RedisServer

ROOT = Path(__file__).parents[2]


def command_of(worker: str, pool: str, concurrency: int) -> str:
    """The command that starts the worker."""
    application = "tests.celery_suite.application:app"
    if worker == "greenq":
        return f"{sys.executable} -m greenq worker -A {application} --pool {pool} -c {concurrency}"
    return f"{sys.executable} -m celery -A {application} worker -P {pool} -c {concurrency} -l INFO -E"


def main() -> int:
    """Run it; pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.celery_suite")
    parser.add_argument("--worker", choices=("greenq", "celery"), default="greenq")
    parser.add_argument("-c", "--concurrency", type=int, default=100)
    parser.add_argument("--pool", default="gevent")
    parser.add_argument("--log", help="a file for what the worker prints")
    parser.add_argument("--all", action="store_true", help="also what is usually left out")
    given, rest = parser.parse_known_args()
    log = given.log or tempfile.mkstemp(suffix=".log", prefix="celery-suite-")[1]
    directory = suite()
    server = RedisServer()
    url = f"redis://127.0.0.1:{server.port}"
    tests = [*LEFT_OUT, *(BUSY if given.concurrency > 4 else ())]
    left_out = [] if given.all else [f"--deselect=t/integration/{test}" for test in tests]
    left_out += [] if given.all else [f"--ignore=t/integration/{file}" for file in FILES]
    chosen = [f"t/integration/{one}" for one in rest if one.startswith("test_")] or ["t/integration"]
    options = [one for one in rest if not one.startswith("test_")]
    variables = os.environ | {
        "TEST_BROKER": f"{url}/0", "TEST_BACKEND": f"{url}/0", "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(server.port), "C_FORCE_ROOT": "1", "SUITE_LOG": log,
        "SUITE_WORKER": command_of(given.worker, given.pool, given.concurrency),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{directory}",
    }  # fmt: skip
    print(f"the worker's log: {log}", flush=True)
    try:
        return subprocess.run(
            [
                str(environment()), "-m", "pytest", "-p", "celery.contrib.pytest",
                "-p", "tests.celery_suite.plugin", "-ra", "-q",
                "--rootdir", str(directory), "-o", "cache_dir=.pytest_cache",
                "-o", "xfail_strict=false", *options, *left_out, *chosen,
            ],
            cwd=directory, env=variables,
        ).returncode  # fmt: skip
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
