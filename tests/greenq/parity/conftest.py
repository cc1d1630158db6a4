"""Both sides run once for all tests, also where several processes share them."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import shared_redis

ROOT = Path(__file__).parents[3]
PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.py"))


def run(library: str) -> dict[str, Any]:
    """What came of each program under a library."""
    command = [sys.executable, "-m", "tests.greenq.parity.side", library, shared_redis().empty()]
    ended = subprocess.run(
        [*command, *map(str, PROGRAMS)],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"C_FORCE_ROOT": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, f"{library}:\n{ended.stderr[-6000:]}"
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, dict[str, Any]]:
    """What came of each program by library."""
    if worker_id == "master":
        return {library: run(library) for library in ("celery", "greenq")}
    path = tmp_path_factory.getbasetemp().parent / "parity.json"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if not text:
            text = json.dumps({library: run(library) for library in ("celery", "greenq")})
            file.write(text)
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
