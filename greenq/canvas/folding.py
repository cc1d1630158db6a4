"""How the steps given to a chain come together; the rules are those of ``|``, applied in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

from greenq.canvas.chord import chord
from greenq.canvas.group import group
from greenq.canvas.members import member_signature
from greenq.canvas.signature import Signature

__all__ = ["fold", "unrolled"]


def unrolled(task: Any) -> Any:
    """A group of one member is that member."""
    return task.tasks[0] if isinstance(task, group) and len(task.tasks) == 1 else task


def fold(tasks: Iterable[Any]) -> Any:
    """Put signatures together as ``a | b | c`` does, but without copying all of them at every step.

    Returns:
        The steps of the chain; or the signature that they make instead of one, a group say.

    Raises:
        InvalidOption: one of them is no signature.
    """
    steps: list[Any] = []
    every = [member_signature(task) for task in tasks]
    for place, task in enumerate(every):
        made = _add(steps, task, place == len(every) - 1)
        if made is not steps:
            whole = reduce(Signature.pipe, every[place + 1 :], made)
            return whole.tasks if whole.subtask_type == "chain" else whole
    return steps


def _add(steps: list[Any], task: Any, last: bool) -> Any:
    """Add one; the last stays the caller's own object, the others are copied."""
    task = unrolled(task)
    if task.is_void():
        return steps
    if task.subtask_type == "chain":
        inner = task.unchain_tasks()
        for place, step in enumerate(inner):
            made = _add(steps, step, last and place == len(inner) - 1)
            if made is not steps:
                return reduce(Signature.pipe, inner[place + 1 :], made)
        return steps
    before = steps[-1] if steps else None
    if isinstance(before, chord) and not isinstance(task, chord):
        before.body = before.body | task
    elif isinstance(task, group):
        if before is None:
            return task
        steps.append(task if last else task.clone())
    elif isinstance(before, group):
        steps[-1] = chord(before, task if last else task.clone(), app=before._found_app())
    else:
        steps.append(task if last else task.clone())
    return steps
