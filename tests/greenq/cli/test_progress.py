"""How far a task is, on the terminal of whoever waits for it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from greenq import GreenQ
from greenq.cli.answer import how_far
from greenq.message import Result
from tests.greenq.cli.command import SCRIPT, environment, greenq


def stored(path: Path, state: str, value: Any) -> None:
    url = f"sqlite:///{path}/greenq.db"
    app = GreenQ("shop", broker=url, results=url)
    result = Result("3f2c", state, value)
    assert app.results is not None
    app.results.encode(result)
    app.results.put([result], 30)
    app.close()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"current": 3, "total": 12}, "PROGRESS: 3 of 12, 25 %"),
        ({"current": 0.5, "total": 2, "now": "a.jpg"}, "PROGRESS: 0.5 of 2, 25 %"),
        ({"current": 3, "total": None}, "PROGRESS: 3"),
        ({"current": 3, "total": 0}, "PROGRESS: 3"),
        ({"current": "many"}, "PROGRESS"),
        ({"current": float("nan"), "total": 10**400}, "PROGRESS"),
        ({"current": 1, "total": float("inf")}, "PROGRESS: 1"),
        (["anything"], "PROGRESS"),
        (None, "PROGRESS"),
    ],
)
def test_progress_is_told_in_numbers_where_there_are_any(value: Any, shown: str) -> None:
    assert how_far(Result("1", "PROGRESS", value)) == shown


def test_result_shows_how_far_a_task_is(tmp_path: Path) -> None:
    stored(tmp_path, "PROGRESS", {"current": 3, "total": 12, "now": "a.jpg"})
    done = greenq("result", "3f2c", cwd=tmp_path)
    assert done.returncode == 3
    assert "PROGRESS: 3 of 12, 25 %" in done.stderr
    assert '"now": "a.jpg"' in done.stdout


def test_who_waits_sees_how_far_a_task_is(tmp_path: Path) -> None:
    stored(tmp_path, "PROGRESS", {"current": 3, "total": 12})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SCRIPT, "result", "3f2c", "--wait", "--timeout", "50s"],
        cwd=tmp_path, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while b"waiting for 3f2c (PROGRESS: 3 of 12, 25 %)" not in shown:
        shown += os.read(ours, 1000)
    stored(tmp_path, "SUCCESS", "done")
    while b'"done"' not in shown:
        shown += os.read(ours, 1000)
    assert process.wait(timeout=30) == 0
    os.close(ours)
