"""A worker's first steps in a process of their own: patch, import the application, look what is green.

`greenq doctor` runs it so that the doctor's own process stays unpatched.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

__all__ = ["main", "rehearse"]

NOTHING: dict[str, Any] = {"patch": None, "unpatched": [], "resolver": None, "app": None, "tasks": 0}
DEADLINE = 60.0
"""Seconds for patching and the application's import."""


def rehearse(pool: str, app: str | None) -> dict[str, Any]:
    """Do what a worker does first.

    Returns:
        ``patch``: an error or None; ``unpatched``: what is not green though the pool needs it;
        ``resolver``: how host names are resolved, where the pool has its own way; ``app``: an error or None;
        ``tasks``: how many it has.
    """
    code = "from greenq.cli.rehearsal import main; main()"
    asked = json.dumps({"pool": pool, "app": app})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, asked], capture_output=True, text=True, timeout=DEADLINE
        )
    except subprocess.TimeoutExpired:
        return {**NOTHING, "app": f"its import takes more than {DEADLINE:g} s"}
    # The application may print whatever it likes while it is imported.
    last = done.stdout.rstrip().rpartition("\n")[2]
    try:
        report: dict[str, Any] = json.loads(last)
    except ValueError:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {**NOTHING, "app": f"its import ended the process: {reason}"}
    return report


def main() -> None:
    """Rehearse what the first argument says, and print the report as one line of JSON."""
    asked = json.loads(sys.argv[1])
    print(json.dumps(_report(asked["pool"], asked["app"])))


def _report(pool: str, app: str | None) -> dict[str, Any]:
    from pools import patching
    from pools.errors import PoolError

    report = dict(NOTHING)
    try:
        patching.patch(pool)
    except PoolError as error:
        return report | {"patch": str(error)}
    if app is not None:
        from greenq.errors import GreenqError
        from greenq.loading import load_app

        try:
            owner = load_app(app)
            owner.load_tasks()
            report["tasks"] = len(owner.tasks)
        except GreenqError as error:
            report["app"] = str(error)
    return report | {"unpatched": patching.unpatched(pool), "resolver": _resolver(pool)}


def _resolver(pool: str) -> str | None:
    if pool != "gevent":
        return None
    hub = importlib.import_module("gevent").get_hub()
    name = type(hub.resolver).__module__.rpartition(".")[2]
    if name == "thread":
        return (
            f"{hub.threadpool.maxsize} host names are resolved at once, in native threads; "
            "GEVENT_RESOLVER=ares needs none"
        )
    return f"host names are resolved by {name}"
