"""What a type checker knows of tasks, held by running one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mypy import api

PROGRAM = Path(__file__).parent / "typed_calls.py"


def test_a_type_checker_knows_tasks_and_their_results() -> None:
    """Each line of the program that ends in ``# wrong: code`` is that error, and no other line is one."""
    out, err, _ = api.run([
        "--strict", "--no-incremental", "--hide-error-context", "--python-executable", sys.executable,
        str(PROGRAM),
    ])  # fmt: skip
    assert err == ""
    found = {
        (int(match[1]), match[2])
        for match in re.finditer(r"typed_calls\.py:(\d+): error: .*\[([a-z-]+)\]", out)
    }
    expected = {
        (number, match[1])
        for number, line in enumerate(PROGRAM.read_text().splitlines(), 1)
        if (match := re.search(r"# wrong: ([a-z-]+)$", line))
    }
    assert found == expected, out
