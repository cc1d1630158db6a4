"""Thousands of green threads that send at the same moment all get through, over the same few connections."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rabbit import shared_rabbit
from tests.servers import shared_redis

CROWD = 3000
MORE_FILES = 8


@pytest.mark.parametrize("broker", ["sqlite", "redis", "amqp"])
def test_a_crowd_of_green_threads_sends_at_once(broker: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/greenq.db"
    if broker != "sqlite":
        url = (shared_redis() if broker == "redis" else shared_rabbit()).empty()
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.crowd", url, str(CROWD)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert found["ids"] == CROWD
    assert found["ready"] == CROWD + 1
    assert found["more_files"] <= MORE_FILES
