"""What crosses between native and green threads, in every world; this process stays plain."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
RUN = """
import sys
world = sys.argv[1]
library = world.split("-")[0]
if world.endswith("patched"):
    from pools.patching import patch
    patch(library)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", sys.argv[2]]))
"""


@pytest.mark.parametrize("world", ["plain", "gevent", "gevent-patched", "eventlet", "eventlet-patched"])
def test_native_and_green_threads_meet(world: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", RUN, world, str(HERE / "native_suite.py")],
        env={**os.environ, "WORLD": world},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=HERE.parent.parent,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
