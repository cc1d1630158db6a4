"""The number of Python calls per message: a figure that no other load on the machine can blur."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.place import ROOT, TAIL, Failed

__all__ = ["BATCHES", "BROKERS", "count", "table"]

BATCHES = (1, 100)
BROKERS = ("memory", "sqlite")
PATIENCE = 180.0


def count(broker: str, batch: int, messages: int) -> dict[str, Any]:
    """Count in a process of its own; see `benchmarks.counted`.

    Raises:
        Failed: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.counted", broker, str(batch), str(messages)]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory:
        try:
            done = subprocess.run(
                command, cwd=directory, env=_environ(), capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{' '.join(command)} took longer than {PATIENCE:g} s") from late
    if done.returncode:
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-TAIL:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return {"broker": broker, "batch": batch, **found}


def _environ() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GREENQ_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def table(counts: list[dict[str, Any]], most: int = 0) -> str:
    """Write what was counted, as Markdown.

    Parameters:
        most: how many of the functions that are called most to list below each.
    """
    lines = ["| broker | slots | messages per fetch | Python calls per message | C calls per message |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for one in counts:
        cells = one["broker"], one["batch"], one["per_fetch"], f"{one['calls']:.1f}", f"{one['c_calls']:.1f}"
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for one in counts if most else []:
        lines += ["", f"{one['broker']}, {one['batch']} slots:", ""]
        lines += [f"    {row['calls']:8.3f}  {row['where']}" for row in one["most"][:most]]
    return "\n".join(lines)
