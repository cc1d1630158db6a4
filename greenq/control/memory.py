"""How much memory the process has, for the commands that tell it.

Source: celery/utils/debug.py: the shape of what is told.
"""

from __future__ import annotations

import gc
import importlib
import tempfile
from collections import deque

from pools.memory import resident

__all__ = ["draw_objects", "dump_memory", "sample_memory"]

_samples: deque[str] = deque(maxlen=1000)


def sample_memory(pid: int) -> str:
    """Note and tell the resident memory, such as ``62.3MB``."""
    told = _shown(pid)
    _samples.append(told)
    return told


def dump_memory(pid: int, count: int) -> str:
    """Tell up to so many of the notes, evenly spread, and what is left after a collection."""
    notes = list(_samples)
    _samples.clear()
    gc.collect()
    step = max(1, len(notes) // count) if count > 0 else 1
    lines = [f"-    > {note}," for note in notes[::step][: max(0, count)]]
    head = ["- rss (sample):"] if lines else []
    return "\n".join([*head, *lines, f"- rss (end): {_shown(pid)}.", ""])


def _shown(pid: int) -> str:
    return f"{resident(pid) / 1024 / 1024:.3f}MB"


def draw_objects(type: str, count: int, depth: int) -> str:
    """Draw what refers to objects of a type; the picture's file.

    Raises:
        ImportError: the package objgraph is not installed.
    """
    try:
        objgraph = importlib.import_module("objgraph")
    except ImportError:
        raise ImportError("Requires the objgraph library") from None
    found = objgraph.by_type(type)[: max(0, count)]
    with tempfile.NamedTemporaryFile(prefix="greenq-objects-", suffix=".png", delete=False) as file:
        name = file.name
    objgraph.show_backrefs(found, max_depth=depth, highlight=lambda one: one in found, filename=name)
    return name
