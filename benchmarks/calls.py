"""The number of Python calls per message: a figure that no other load on the machine can blur."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.place import ROOT, TAIL, Failed

__all__ = ["BATCHES", "BROKERS", "count", "count_all", "table"]

BATCHES = (1, 100)
EMBEDDED = {"memory": "memory://counted", "sqlite": "sqlite:///greenq.db"}
"""The brokers that need no server, and their addresses."""
BROKERS = (*EMBEDDED, "redis", "amqp")
PATIENCE = 180.0


def count(broker: str, batch: int, messages: int, url: str | None = None) -> dict[str, Any]:
    """Count in a process of its own; see `benchmarks.counted`.

    Parameters:
        url: of an empty database or virtual host, for those of `BROKERS` that are servers.

    Raises:
        Failed: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.counted", url or EMBEDDED[broker], str(batch), str(messages)]
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


def count_all(messages: int) -> list[dict[str, Any]]:
    """Count on every broker, on servers of its own.

    Raises:
        Failed: one failed, or a server is not installed.
    """
    found = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory, ExitStack() as stack:
        redis = stack.enter_context(servers.redis(Path(directory)))
        rabbit = stack.enter_context(servers.rabbit())
        for broker in BROKERS:
            for batch in BATCHES:
                url = None
                if broker == "redis":
                    url = redis
                    servers.flush(url)
                elif broker == "amqp":
                    url = rabbit.empty()
                found.append(count(broker, batch, messages, url))
    return found


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
