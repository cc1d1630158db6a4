"""Run the real command, as its script does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["SCRIPT", "environment", "greenq"]

ROOT = Path(__file__).parents[3]
SCRIPT = [sys.executable, "-P", "-c", "from greenq.cli import main; main()"]
"""Like the installed script, the working directory is not on its import path."""


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would change the command, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GREENQ_", "NO_COLOR"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def greenq(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run `greenq` with `arguments` in the directory `cwd`."""
    return subprocess.run(
        [*SCRIPT, *arguments],
        cwd=cwd,
        env=environment(**(env or {})),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
