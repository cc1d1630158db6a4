"""What a worker prints when it starts: everything that was resolved, and where it came from."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from greenq.config.masking import mask
from greenq.config.units import write_bytes, write_seconds

if TYPE_CHECKING:
    from greenq.config import Configuration
    from greenq.config.schema import Settings

__all__ = ["banner"]

GREEN, BOLD, DIM = "1;32", "1", "2"


def banner(
    configuration: Configuration,
    app_name: str,
    tasks: int,
    node: str,
    version: str,
    capacity: int,
    stream: TextIO | None = None,
) -> str:
    """Describe a worker in a few lines.

    Parameters:
        configuration: what it runs with.
        app_name: of the application.
        tasks: how many are registered.
        node: the worker's full name.
        version: greenq's.
        capacity: how many tasks run at once.
        stream: where it will be printed, which decides about colours; None for standard error.
    """
    paint = Paint(_coloured(stream or sys.stderr))
    settings, origin = configuration.settings, configuration.origin
    worker = settings.worker
    kept = (
        "for ever" if settings.results.expires is None else f"for {write_seconds(settings.results.expires)}"
    )
    results = f"{mask(settings.results.url)}, kept {kept}" if settings.results.url else "not kept"
    pool = f"{worker.pool}, {capacity:,} at once"
    if worker.processes > 1:
        pool += f", {worker.processes} processes"
    if worker.prefetch:
        pool += f", prefetch {worker.prefetch}"
    rows: list[tuple[str, str, Sequence[str]]] = [
        ("app", f"{app_name}, {tasks} {'task' if tasks == 1 else 'tasks'}", ("app",)),
        ("broker", mask(settings.broker.url), ("broker.url",)),
        ("results", results, ("results.url", "results.expires")),
        ("pool", pool, ("worker.pool", "worker.concurrency", "worker.processes", "worker.prefetch")),
        ("queues", ", ".join(worker.queues), ("worker.queues",)),
        ("limits", _limits(settings),
         ("tasks.soft_time_limit", "tasks.time_limit",
          "worker.max_tasks", "worker.max_age", "worker.max_memory")),
        ("config", str(configuration.path) if configuration.path else "no file", ()),
    ]  # fmt: skip
    lines = [f"{paint(GREEN, 'greenq')} {paint(BOLD, version)}  {node}"]
    for name, value, keys in rows:
        sources = _sources([origin(key) for key in keys])
        lines.append(f"  {paint(DIM, f'{name:<8}')} {value}{paint(DIM, sources)}")
    return "\n".join(lines)


def _limits(settings: Settings) -> str:
    soft, hard, worker = settings.tasks.soft_time_limit, settings.tasks.time_limit, settings.worker
    parts, ends = [], []
    if soft is not None:
        parts.append(f"soft {write_seconds(soft)}")
    if hard is not None:
        parts.append(f"hard {write_seconds(hard)}")
    if worker.max_tasks is not None:
        ends.append(f"after {worker.max_tasks:,} tasks")
    if worker.max_age is not None:
        ends.append(f"after {write_seconds(worker.max_age)}")
    if worker.max_memory is not None:
        ends.append(f"beyond {write_bytes(worker.max_memory)}")
    if ends:
        parts.append(f"a new process {' or '.join(ends)}")
    return ", ".join(parts) or "none"


def _sources(origins: list[str]) -> str:
    told = [origin for origin in dict.fromkeys(origins) if origin != "default"]
    return f"  ({', '.join(told)})" if told else ""


class Paint:
    """Puts terminal codes around text, or leaves it alone."""

    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._coloured and text else text


def _coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
