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
PROGRAMS = sorted((Path(__file__).parent / "programs").rglob("*.py"))


def begin(library: str) -> subprocess.Popen[str]:
    """Run the programs under a library."""
    command = [sys.executable, "-m", "tests.greenq.parity.side", library, shared_redis().empty()]
    return subprocess.Popen(
        [*command, *map(str, PROGRAMS)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"C_FORCE_ROOT": "1"},
    )  # fmt: skip


def every() -> dict[str, dict[str, Any]]:
    """What came of each program on each side; they run side by side."""
    begun = {library: begin(library) for library in ("celery", "greenq", "adopted")}
    found: dict[str, dict[str, Any]] = {}
    try:
        for library, process in begun.items():
            stdout, stderr = process.communicate(timeout=300)
            assert process.returncode == 0, f"{library}:\n{stderr[-6000:]}"
            found[library] = json.loads(stdout.splitlines()[-1])
    finally:
        for process in begun.values():
            process.kill()
            process.wait()
    return found


@pytest.fixture(scope="session")
def sides(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> dict[str, dict[str, Any]]:
    """What came of each program by library."""
    if worker_id == "master":
        return every()
    path = tmp_path_factory.getbasetemp().parent / "parity.json"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if not text:
            text = json.dumps(every())
            file.write(text)
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found
