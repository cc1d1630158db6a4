"""The parts that a workflow is made of, checked where it is made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from greenq.canvas.signature import Signature, maybe_signature
from greenq.errors import InvalidOption
from greenq.sender import Sender

__all__ = ["each_of", "member_signature"]


def each_of(tasks: Any) -> Iterable[Any]:
    """What was given instead of several signatures, which must be an iterable of them.

    Raises:
        InvalidOption: it is none.
    """
    if not isinstance(tasks, Iterable) or isinstance(tasks, str):
        raise InvalidOption(f"a workflow is made of signatures, such as task.s(…), not of {tasks!r:.80}")
    return tasks


def member_signature(d: Any, app: Sender | None = None, clone: bool = False) -> Any:
    """The same for a part of a workflow, which must be one.

    Raises:
        InvalidOption: it is none.
    """
    made = maybe_signature(d, app, clone)
    if not isinstance(made, Signature):
        raise InvalidOption(f"a workflow is made of signatures, such as task.s(…), not of {d!r:.80}")
    return made
