"""The green pools, each in processes that are patched and that are not; this one never is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = """
import sys
if sys.argv[1] == "patched":
    from pools.patching import patch
    patch(sys.argv[2])
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[3:]]))
"""


def run_suite(pool: str, state: str, suite: str, *options: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RUN, state, pool, str(HERE / suite)]
    environment = {**os.environ, "GREEN_POOL": pool}
    done = subprocess.run(
        [*command, *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        cwd=HERE.parent.parent,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]


@pytest.mark.parametrize("state", ["plain", "patched"])
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_green_pools_conform(pool: str, state: str) -> None:
    run_suite(pool, state, "green_suite.py")


@pytest.mark.parametrize("state", ["plain", "patched"])
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_reused_green_threads_leak_nothing(pool: str, state: str) -> None:
    run_suite(pool, state, "green_leaks.py")
