"""The short form of `python -m tests.chaos.fuzz`: what is spoiled is refused by name, and in good time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.readers import READERS

INPUTS = 2500
FEWER = {"config": 300, "redis server": 60, "amqp server": 40}
"""Those that take longer each."""
SEED = 2026


@pytest.mark.parametrize("kind", READERS)
def test_nothing_that_arrives_from_outside_does_more_than_end_once(kind: str) -> None:
    count = str(FEWER.get(kind, INPUTS))
    command = ["-m", "tests.chaos.fuzz", "--inputs", count, "--seed", str(SEED), "--kind", kind]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
