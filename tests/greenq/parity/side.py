"""Runs programs under one library, with one worker in this process, and prints what came of them as JSON.

``python -m tests.greenq.parity.side celery|greenq|adopted redis://… program.py …``

A program is written for Celery; under greenq only its import lines are changed, and if it is adopted nothing
is: greenq's worker serves its Celery application. It finds `app` and `log` (a
list that is compared, too) among its names, and has a function `main` that makes calls and returns what is to
be compared by name: results, which are waited for and looked up as they are stored, or plain values. A
function `after`, if there is one, is called with them when all have ended; what it returns is added. Programs
in a directory `extended` have an application that stores extended results, those in `headers` one that links
errbacks of chords to the members of their headers, too.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import redis

PATIENCE = 60.0
ACCEPT = ["json", "yaml", "msgpack", "pickle"]
IMPORTS = (
    (r"^from celery import Celery\b", "from greenq import GreenQ"),
    (r"^from celery\.exceptions import", "from greenq.errors import"),
    (r"^from celery\.result import", "from greenq import"),
    (r"^from celery(\.[a-z_.]+)? import", r"from greenq\1 import"),
    (r"\bMaxRetriesExceededError\b(?=.*# an import)", "MaxRetriesExceeded as MaxRetriesExceededError"),
)
"""What is changed in a program's lines so that it runs under greenq."""
ENDED = {"SUCCESS", "FAILURE", "REVOKED"}
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SAME = {
    "celery.exceptions": "the library", "greenq.errors": "the library",
    "MaxRetriesExceededError": "MaxRetriesExceeded", "TaskRevokedError": "TaskRevoked",
}  # fmt: skip
"""Names that differ and mean the same."""


# ── one library or the other ─────────────────────────────────────────────────────────────────────────────


@contextmanager
def celery_worker(app: Any) -> Iterator[None]:
    from celery.contrib.testing.worker import start_worker

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=PATIENCE):
        yield


@contextmanager
def greenq_worker(app: Any) -> Iterator[None]:
    from greenq import Worker
    from pools import table

    with table.create("threads", 1) as pool:
        worker = Worker(app, pool)
        worker.start()
        try:
            yield
        finally:
            worker.stop(PATIENCE)


def workers_of(library: str, app: Any) -> AbstractContextManager[None]:
    """One worker for a program's application."""
    if library == "celery":
        return celery_worker(app)
    if library == "adopted":
        from greenq.contrib.celery.adopting import adopt

        app = adopt(app, "parity")
    return greenq_worker(app)


def make(library: str, url: str, folder: str) -> Any:
    extended, on_headers = folder == "extended", folder == "headers"
    if library != "greenq":
        from celery import Celery

        app = Celery("parity", broker=url, backend=url)
        app.conf.update(
            task_acks_late=True, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True,
            accept_content=ACCEPT, result_extended=extended, task_allow_error_cb_on_chord_header=on_headers,
        )  # fmt: skip
        return app
    from greenq import GreenQ

    return GreenQ(
        "parity", broker=url, results={"url": url, "extended": extended}, accept=ACCEPT,
        tasks={"errbacks_on_headers": on_headers},
    )  # fmt: skip


def load(library: str, path: Path, app: Any) -> ModuleType:
    text = path.read_text()
    if library == "greenq":
        for pattern, instead in IMPORTS:
            text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    module = ModuleType(path.stem)
    sys.modules[path.stem] = module
    module.__dict__.update(app=app, log=[])
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module


# ── what came of it ──────────────────────────────────────────────────────────────────────────────────────


def wait(result: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while result.state not in ENDED:
        assert time.monotonic() < deadline, f"{result!r} does not end: {result.state}"
        time.sleep(0.02)


def is_result(value: Any) -> bool:
    return hasattr(value, "id") and hasattr(value, "get") and not isinstance(value, dict)


def told(value: Any, client: Any) -> Any:
    """A result as everybody sees it, and as it is stored; a plain value as it is."""
    if not is_result(value):
        return value
    if hasattr(value, "results"):
        return {"members": [told(member, client) for member in value.results]}
    if not type(value).__name__.startswith("Eager"):
        wait(value)
    stored = client.get(f"celery-task-meta-{value.id}")
    seen = {"id": value.id, "state": value.state, "value": value.result, "successful": value.successful()}
    record = json.loads(stored) if stored else None
    if record is not None and record.get("parent_id") == value.id:
        del record["parent_id"]  # Celery makes a task that is retried its own parent
    return seen | {"stored": record}


class Normal:
    """Makes what two runs have in common equal: ids by their order, times and tracebacks by being there."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {str(name): self(one, str(name)) for name, one in value.items()}
        if key == "stamped_headers" and isinstance(value, list):
            value = sorted(value)  # Celery has them in a set
        if isinstance(value, list | tuple):
            return [self(one, key) for one in value]
        if isinstance(value, BaseException):
            library = type(value).__module__ in SAME
            return {"raised": SAME.get(type(value).__name__, type(value).__name__)} | (
                {} if library else {"args": self(list(value.args))}
            )
        if key == "date_done":
            return value and "a time"
        if key in ("traceback", "einfo"):
            return value and str(value).strip().splitlines()[-1]
        if key in ("hostname", "pid", "runtime", "worker"):
            return f"a {type(value).__name__}"
        if isinstance(value, str):
            return ID.sub(
                lambda found: self._ids.setdefault(found[0], f"id {len(self._ids)}"), SAME.get(value, value)
            )
        return value if isinstance(value, int | float | None | bool) else type(value).__name__


def run(library: str, url: str, paths: list[Path]) -> dict[str, Any]:
    """What came of programs that share an application."""
    app = make(library, url, paths[0].parent.name)
    modules = [load(library, path, app) for path in paths]
    client = redis.Redis.from_url(url)
    found = {}
    with workers_of(library, app):
        for module in modules:
            normal = Normal()
            try:
                made = module.main()
                seen = {name: told(value, client) for name, value in made.items()}
                if hasattr(module, "after"):
                    seen |= module.after(made)
            except Exception:
                found[module.__name__] = {"broke": traceback.format_exc()}  # the others go on
                continue
            found[module.__name__] = {"seen": normal(seen), "log": normal(module.log)}
    return found


if __name__ == "__main__":
    threading.current_thread().name = "parity"
    programs = [Path(path) for path in sys.argv[3:]]
    found = {}
    for folder in dict.fromkeys(path.parent for path in programs):
        found |= run(sys.argv[1], sys.argv[2], [path for path in programs if path.parent == folder])
    print(json.dumps(found))
